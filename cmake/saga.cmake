# Helpers of the build: flags, rooms, programs, tests.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
# Third-party libraries; a room names those that it may see (PKG::x) in LINKS.
pkg_check_modules(PROTOBUFC REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_library(NNG_LIBRARY nng REQUIRED)
add_library(PkgNng INTERFACE)
target_link_libraries(PkgNng INTERFACE ${NNG_LIBRARY})

set(SAGA_SANITIZE "" CACHE STRING "Sanitizers: address,undefined or thread; empty: none")
option(SAGA_WERROR "Warnings are errors" OFF)
option(SAGA_ANALYZE "Run gcc's -fanalyzer and cppcheck over our sources" OFF)
option(SAGA_FUZZ "Instrument for libFuzzer (clang)" OFF)
option(SAGA_CANARY "Rules can be broken by SAGA_BREAK=NAME (scripts/canaries); never in what is shipped" OFF)

# Flags of everything that is ours.
add_library(saga_flags INTERFACE)
target_compile_features(saga_flags INTERFACE c_std_17)
target_include_directories(saga_flags INTERFACE "${PROJECT_SOURCE_DIR}")
target_include_directories(saga_flags SYSTEM INTERFACE "${PROJECT_SOURCE_DIR}/generated")
target_compile_definitions(saga_flags INTERFACE SAGA_VERSION="${PROJECT_VERSION}")
target_compile_options(saga_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wswitch-enum -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wundef -Wformat=2 -Wcast-qual
    -fstack-protector-strong -fno-common -fPIE)
target_link_options(saga_flags INTERFACE -pie -Wl,-z,relro,-z,now)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # Texts are cut at their bounds on purpose; and what gcc thinks of it changes with the level of optimisation.
    target_compile_options(saga_flags INTERFACE -Wno-format-truncation)
endif()
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    # SAGA_ASSERT(!"why"): a text is true, which is what is meant.
    # And to take a literal for a char * by a cast is said on purpose. librdkafka's macros have statements in expressions.
    target_compile_options(saga_flags INTERFACE -Wno-string-conversion -Wno-cast-qual -Wno-gnu-statement-expression)
endif()
if(SAGA_WERROR)
    target_compile_options(saga_flags INTERFACE -Werror)
endif()
if(SAGA_ANALYZE)
    # SAGA_ANALYZER tells headers to say what the analyzer cannot see, at the cost of a program that is of no other use.
    # Leaks are AddressSanitizer's: gcc 12 takes what a list or an object now holds for lost.
    target_compile_options(saga_flags INTERFACE $<$<NOT:$<BOOL:$<TARGET_PROPERTY:SAGA_NO_ANALYZER>>>:-fanalyzer> -Wno-analyzer-malloc-leak)
    target_compile_definitions(saga_flags INTERFACE SAGA_ANALYZER=1)
    find_program(SAGA_CPPCHECK cppcheck REQUIRED)
    set(SAGA_CPPCHECK_COMMAND "${SAGA_CPPCHECK};--quiet;--enable=warning,performance,portability;--inline-suppr;--std=c11"
        "--suppressions-list=${PROJECT_SOURCE_DIR}/tests/support/cppcheck.txt;--error-exitcode=2")
endif()
if(SAGA_CANARY)
    target_compile_definitions(saga_flags INTERFACE SAGA_CANARY=1)
endif()
if(SAGA_FUZZ)
    target_compile_options(saga_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(SAGA_SANITIZE)
    target_compile_options(saga_flags INTERFACE -fsanitize=${SAGA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(saga_flags INTERFACE -fsanitize=${SAGA_SANITIZE})
else()
    target_compile_options(saga_flags INTERFACE $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>)
endif()
set(CMAKE_C_EXTENSIONS OFF)

# What sanitized tests and programs run with. ThreadSanitizer's shadow memory wants addresses that do not wander: kernels that
# randomise 32 bits of them break it, setarch -R (inherited by children) takes that away.
set(SAGA_TEST_LAUNCHER "")
set(SAGA_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.txt:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.txt")
if(SAGA_SANITIZE MATCHES "thread")
    find_program(SAGA_SETARCH setarch REQUIRED)
    set(SAGA_TEST_LAUNCHER "${SAGA_SETARCH}" -R)
    # C11's threads, which librdkafka uses, made known to it (tests/support/tsan_threads.c).
    list(APPEND SAGA_TEST_ENVIRONMENT "LD_PRELOAD=${PROJECT_BINARY_DIR}/tests/saga_tsan_threads.so")
endif()

# What every target of ours has besides saga_flags (properties do not come by linking).
function(saga_own target)
    if(SAGA_ANALYZE)
        set_target_properties(${target} PROPERTIES C_CPPCHECK "${SAGA_CPPCHECK_COMMAND}")
    endif()
endfunction()

# saga_room(NAME [PURE] SOURCES … LINKS …): a static library saga_NAME. PURE rooms see no POSIX, only ISO C.
function(saga_room name)
    cmake_parse_arguments(ROOM "PURE" "" "SOURCES;LINKS" ${ARGN})
    add_library(saga_${name} STATIC ${ROOM_SOURCES})
    saga_own(saga_${name})
    target_link_libraries(saga_${name} PUBLIC ${ROOM_LINKS} PRIVATE saga_flags)
    if(NOT ROOM_PURE)
        target_compile_definitions(saga_${name} PRIVATE _POSIX_C_SOURCE=200809L)
    endif()
endfunction()

# saga_program(NAME SOURCES … LINKS …): an executable in build/bin.
function(saga_program name)
    cmake_parse_arguments(PROGRAM "" "" "SOURCES;LINKS" ${ARGN})
    add_executable(${name} ${PROGRAM_SOURCES})
    saga_own(${name})
    target_link_libraries(${name} PRIVATE ${PROGRAM_LINKS} saga_flags)
    target_compile_definitions(${name} PRIVATE _POSIX_C_SOURCE=200809L)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
endfunction()

# saga_test(NAME LABEL unit TIMEOUT 30 SOURCES … LINKS …): a cmocka test program.
function(saga_test name)
    cmake_parse_arguments(TEST "" "LABEL;TIMEOUT" "SOURCES;LINKS" ${ARGN})
    if(NOT TEST_LABEL OR NOT TEST_TIMEOUT)
        message(FATAL_ERROR "saga_test(${name}): LABEL and TIMEOUT are required")
    endif()
    add_executable(${name} ${TEST_SOURCES})
    if(SAGA_ANALYZE)
        # cmocka's assertions leave by longjmp, which the analyzer takes for a road back.
        set_target_properties(${name} PROPERTIES SAGA_NO_ANALYZER ON)
    endif()
    target_link_libraries(${name} PRIVATE ${TEST_LINKS} PkgConfig::CMOCKA saga_flags)
    target_compile_definitions(${name} PRIVATE _POSIX_C_SOURCE=200809L SAGA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    add_test(NAME ${name} COMMAND ${SAGA_TEST_LAUNCHER} $<TARGET_FILE:${name}> WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES LABELS ${TEST_LABEL} TIMEOUT ${TEST_TIMEOUT} ENVIRONMENT "${SAGA_TEST_ENVIRONMENT}")
endfunction()

# saga_script_test(NAME LABEL gate TIMEOUT 60 COMMAND …): a test that is a script; it gets SAGA_BUILD_DIR in its environment.
function(saga_script_test name)
    cmake_parse_arguments(TEST "" "LABEL;TIMEOUT" "COMMAND" ${ARGN})
    add_test(NAME ${name} COMMAND ${TEST_COMMAND} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES LABELS ${TEST_LABEL} TIMEOUT ${TEST_TIMEOUT}
        ENVIRONMENT "SAGA_BUILD_DIR=${PROJECT_BINARY_DIR};SAGA_SANITIZE=${SAGA_SANITIZE};${SAGA_TEST_ENVIRONMENT}")
endfunction()

# Where the tests' shared Kafka broker keeps its files; DIR/bootstrap holds HOST:PORT while it runs.
set(SAGA_TEST_KAFKA_DIR "${PROJECT_BINARY_DIR}/kafka")

# saga_needs_kafka(TEST… [SHARED]): these tests run while the shared broker (tests/support/kafka-broker, started once for all
# of them by ctest) is up and find its directory in SAGA_TEST_KAFKA_DIR. One at a time, since topics have fixed names, unless
# SHARED. Tests that stop or kill a broker start their own by the script. Call it in the directory that adds the tests.
function(saga_needs_kafka)
    cmake_parse_arguments(NEEDS "SHARED" "" "" ${ARGN})
    set_property(TEST ${NEEDS_UNPARSED_ARGUMENTS} APPEND PROPERTY FIXTURES_REQUIRED kafka)
    set_property(TEST ${NEEDS_UNPARSED_ARGUMENTS} APPEND PROPERTY ENVIRONMENT "SAGA_TEST_KAFKA_DIR=${SAGA_TEST_KAFKA_DIR}")
    if(NOT NEEDS_SHARED)
        set_property(TEST ${NEEDS_UNPARSED_ARGUMENTS} APPEND PROPERTY RESOURCE_LOCK kafka)
    endif()
endfunction()

# Writes links.txt, a line "target|folder|what it links" for each target of the tree: what the link gate judges.
function(saga_write_links)
    set(folders "${PROJECT_SOURCE_DIR}")
    set(lines "")
    while(folders)
        list(POP_FRONT folders folder)
        get_property(more DIRECTORY "${folder}" PROPERTY SUBDIRECTORIES)
        list(APPEND folders ${more})
        get_property(targets DIRECTORY "${folder}" PROPERTY BUILDSYSTEM_TARGETS)
        foreach(target ${targets})
            get_target_property(type ${target} TYPE)
            set(links "")
            set(properties INTERFACE_LINK_LIBRARIES)
            if(NOT type STREQUAL "INTERFACE_LIBRARY")
                list(APPEND properties LINK_LIBRARIES)
            endif()
            foreach(property ${properties})
                get_target_property(value ${target} ${property})
                if(value)
                    list(APPEND links ${value})
                endif()
            endforeach()
            list(REMOVE_DUPLICATES links)
            string(APPEND lines "${target}|${folder}|${links}\n")
        endforeach()
    endwhile()
    file(WRITE "${PROJECT_BINARY_DIR}/links.txt" "${lines}")
endfunction()
cmake_language(DEFER DIRECTORY "${PROJECT_SOURCE_DIR}" CALL saga_write_links)
