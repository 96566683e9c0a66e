# What `cmake --install` puts where (scripts/install): programs, the kit as one library with headers, CMake package and
# pkg-config file, schemas, man page, shell completion.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# libsaga: the kit with all that it stands on.
set(saga_kit_rooms base sys sql wire bus_nng bus_kafka generated kit)
set(saga_kit_objects)
foreach(room IN LISTS saga_kit_rooms)
    list(APPEND saga_kit_objects $<TARGET_OBJECTS:saga_${room}>)
endforeach()
add_library(saga STATIC ${saga_kit_objects})
set_target_properties(saga PROPERTIES LINKER_LANGUAGE C)

install(TARGETS saga ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(TARGETS sagad sagactl orderd customerd productd kitchend paymentd RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")

# Headers: <saga/kit.h>, and what it includes.
set(saga_include "${CMAKE_INSTALL_INCLUDEDIR}/saga")
install(FILES services/kit/kit.h DESTINATION "${saga_include}")
install(DIRECTORY common/base common/sql common/sys common/wire DESTINATION "${saga_include}/common"
    FILES_MATCHING PATTERN "*.h" PATTERN "*_internal.h" EXCLUDE PATTERN "json" EXCLUDE)
install(DIRECTORY generated/saga generated/google DESTINATION "${saga_include}/generated" FILES_MATCHING PATTERN "*.h")

set(saga_share "${CMAKE_INSTALL_DATADIR}/sagad")
install(DIRECTORY proto DESTINATION "${saga_share}" FILES_MATCHING PATTERN "*.proto")
install(FILES generated/sagad.binpb services/seed.json DESTINATION "${saga_share}")
install(DIRECTORY docs/man/ DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" FILES_MATCHING PATTERN "*.1")

# Shell completion, printed by the program itself, where bash-completion, zsh and fish look.
install(CODE "
    foreach(shell bash zsh fish)
        file(MAKE_DIRECTORY \"${PROJECT_BINARY_DIR}/completion\")
        execute_process(COMMAND ${SAGA_TEST_LAUNCHER} \"$<TARGET_FILE:sagactl>\" completion \${shell}
            OUTPUT_FILE \"${PROJECT_BINARY_DIR}/completion/\${shell}\" COMMAND_ERROR_IS_FATAL ANY)
    endforeach()" COMPONENT completion)
install(FILES "${PROJECT_BINARY_DIR}/completion/bash" RENAME sagactl COMPONENT completion
    DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
install(FILES "${PROJECT_BINARY_DIR}/completion/zsh" RENAME _sagactl COMPONENT completion
    DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
install(FILES "${PROJECT_BINARY_DIR}/completion/fish" RENAME sagactl.fish COMPONENT completion
    DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")

set(saga_package "${CMAKE_INSTALL_LIBDIR}/cmake/saga")
set(SAGA_CONFIG_PROTO_DIR "${saga_share}/proto")
configure_package_config_file(packaging/saga-config.cmake.in "${PROJECT_BINARY_DIR}/saga-config.cmake"
    INSTALL_DESTINATION "${saga_package}"
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR SAGA_CONFIG_PROTO_DIR)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/saga-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/saga-config.cmake" "${PROJECT_BINARY_DIR}/saga-config-version.cmake"
    cmake/saga_participant.cmake cmake/saga_embed.cmake DESTINATION "${saga_package}")

configure_file(packaging/saga.pc.in "${PROJECT_BINARY_DIR}/saga.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/saga.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
