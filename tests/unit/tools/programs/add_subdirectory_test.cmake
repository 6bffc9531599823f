# A project with add_subdirectory(cistern): it configures, its generated headers are found where they lie, it has no
# tests of Cistern's, and nothing of Cistern's own build settings.
file(REMOVE_RECURSE ${SCRATCH})
file(WRITE ${SCRATCH}/CMakeLists.txt "
cmake_minimum_required(VERSION 3.25)
project(parent LANGUAGES C CXX)
set(CMAKE_CXX_FLAGS_DEBUG -O0)
find_program(PARENTS_CCACHE ccache)
set(CMAKE_CXX_COMPILER_LAUNCHER env \${PARENTS_CCACHE})
add_subdirectory(${SOURCE} cistern)
add_library(worker OBJECT worker.cc)
target_link_libraries(worker PRIVATE cistern::client)
get_target_property(launcher cistern_client CXX_COMPILER_LAUNCHER)
get_target_property(link_options cistern-server LINK_OPTIONS)
get_directory_property(debug_flags DIRECTORY ${SOURCE} DEFINITION CMAKE_CXX_FLAGS_DEBUG)
if(NOT launcher STREQUAL CMAKE_CXX_COMPILER_LAUNCHER OR link_options OR NOT debug_flags STREQUAL -O0)
  message(FATAL_ERROR \"forced on the parent: \${launcher} \${link_options} \${debug_flags}\")
endif()
if(TARGET base_test OR TARGET cistern_cli_test OR ENABLE_TESTS)
  message(FATAL_ERROR \"a part of another project has its tests built\")
endif()
")
file(WRITE ${SCRATCH}/worker.cc "
#include \"cistern/client.h\"
int Answer() { return static_cast<int>(cistern::ClientOptions().fetch_threads); }
")

function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what}: ${result}\n${output}")
  endif()
endfunction()

run("configure" ${CMAKE_COMMAND} -G ${GENERATOR} -S ${SCRATCH} -B ${SCRATCH}/build -DCMAKE_BUILD_TYPE=Debug
  -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_C_COMPILER=${C_COMPILER})
run("build one object of each side" ${CMAKE_COMMAND} --build ${SCRATCH}/build --target
  cistern/transport/CMakeFiles/cistern_wire.dir/wire/codec_parts.cc.o CMakeFiles/worker.dir/worker.cc.o)
file(REMOVE_RECURSE ${SCRATCH})
