# saga_participant(NAME PROTO_PATH DIR PROTOS FILE… SOURCES FILE…): an executable NAME, a participant on the kit.
#
# PROTOS are relative to PROTO_PATH, as protoc's imports are. From them come, in the build folder, protoc-c's code
# ("gift/v1/gift.pb-c.h") and NAME_schema.h with `const unsigned char NAME_schema[]`, the FileDescriptorSet that the kit
# takes (struct saga_kit_app, descriptor_set); the set is also there as the file NAME.binpb, for sagactl apply.
# Whoever includes this file sets SAGA_PROTO_DIR (where saga/v1/options.proto is) and SAGA_KIT_TARGET (what is linked).
set(SAGA_EMBED_SCRIPT "${CMAKE_CURRENT_LIST_DIR}/saga_embed.cmake")

function(saga_participant name)
    cmake_parse_arguments(ARG "" "PROTO_PATH" "PROTOS;SOURCES" ${ARGN})
    if(NOT ARG_PROTO_PATH OR NOT ARG_PROTOS OR NOT ARG_SOURCES)
        message(FATAL_ERROR "saga_participant(${name}): PROTO_PATH, PROTOS and SOURCES are required")
    endif()
    find_program(SAGA_PROTOC protoc REQUIRED)
    find_program(SAGA_PROTOC_C protoc-c REQUIRED)
    get_filename_component(proto_path "${ARG_PROTO_PATH}" ABSOLUTE)
    set(out "${CMAKE_CURRENT_BINARY_DIR}/${name}_generated")
    file(MAKE_DIRECTORY "${out}")
    set(paths -I "${proto_path}" -I "${SAGA_PROTO_DIR}")
    set(protos)
    set(sources)
    set(headers)
    foreach(proto IN LISTS ARG_PROTOS)
        list(APPEND protos "${proto_path}/${proto}")
        string(REGEX REPLACE "\\.proto$" ".pb-c" stem "${proto}")
        list(APPEND sources "${out}/${stem}.c")
        list(APPEND headers "${out}/${stem}.h")
    endforeach()
    add_custom_command(
        OUTPUT ${sources} ${headers}
        COMMAND "${SAGA_PROTOC_C}" "--c_out=${out}" ${paths} ${ARG_PROTOS}
        DEPENDS ${protos}
        COMMENT "protoc-c for ${name}" VERBATIM)
    set(binpb "${CMAKE_CURRENT_BINARY_DIR}/${name}.binpb")
    # Health and reflection are methods of every daemon; the kit serves them and wants their schema.
    add_custom_command(
        OUTPUT "${binpb}"
        COMMAND "${SAGA_PROTOC}" "--descriptor_set_out=${binpb}" --include_imports --include_source_info ${paths} ${ARG_PROTOS}
            saga/v1/health.proto saga/v1/reflection.proto
        DEPENDS ${protos}
        COMMENT "protoc for ${name}" VERBATIM)
    add_custom_command(
        OUTPUT "${out}/${name}_schema.c" "${out}/${name}_schema.h"
        COMMAND "${CMAKE_COMMAND}" "-DINPUT=${binpb}" "-DOUTPUT=${out}/${name}_schema" "-DNAME=${name}_schema" -P "${SAGA_EMBED_SCRIPT}"
        DEPENDS "${binpb}" "${SAGA_EMBED_SCRIPT}"
        COMMENT "schema of ${name}" VERBATIM)
    # In a library of its own: the warnings that are asked of the sources do not apply to what protoc-c writes.
    add_library(${name}_generated STATIC ${sources} ${headers} "${out}/${name}_schema.c" "${out}/${name}_schema.h")
    target_include_directories(${name}_generated SYSTEM PUBLIC "${out}")
    target_link_libraries(${name}_generated PUBLIC ${SAGA_KIT_TARGET})
    add_executable(${name} ${ARG_SOURCES})
    target_compile_features(${name} PRIVATE c_std_17)
    target_link_libraries(${name} PRIVATE ${name}_generated ${SAGA_KIT_TARGET})
endfunction()
