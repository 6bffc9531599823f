# What a project outside needs to link the client: cmake --install BUILD --prefix DIR [--component client], then
# find_package(cistern) and cistern::client. Headers lie in include/cistern-VERSION, so that "base/key.h" is nobody else's.
#
# And a node: the programs, the systemd unit and the example configuration (component node).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(installed_libraries cistern_base cistern_kernels cistern_wire cistern_transport cistern_client)
foreach(library ${installed_libraries})
  string(REPLACE "cistern_" "" short_name ${library})
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${short_name})
endforeach()
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/cistern)

install(TARGETS ${installed_libraries} EXPORT cistern
  ARCHIVE COMPONENT client
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cistern-${PROJECT_VERSION} COMPONENT client)
install(EXPORT cistern NAMESPACE cistern:: FILE cistern-targets.cmake DESTINATION ${package_dir} COMPONENT client)
configure_package_config_file(tools/cmake/cistern-config.cmake.in ${PROJECT_BINARY_DIR}/cistern-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cistern-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cistern-config.cmake ${PROJECT_BINARY_DIR}/cistern-config-version.cmake
  DESTINATION ${package_dir} COMPONENT client)

# For C: cc -I PREFIX/include -L PREFIX/lib -lcistern
install(TARGETS cistern_c
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT c
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT c)

install(TARGETS cistern-server cistern cistern-bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT node)
install(FILES cacheserver/cistern.example.json DESTINATION ${CMAKE_INSTALL_DATADIR}/cistern COMPONENT node)
# With the path at which the server is installed, which may be given as late as by --prefix.
install(CODE "
  file(READ \"${PROJECT_SOURCE_DIR}/cacheserver/cistern-server.service\" unit)
  string(REPLACE /usr/local/bin \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\" unit \"\${unit}\")
  string(REPLACE /usr/local/share \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}\" unit \"\${unit}\")
  file(WRITE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/systemd/system/cistern-server.service\" \"\${unit}\")
" COMPONENT node)
