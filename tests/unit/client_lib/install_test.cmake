# Installs the client into a new directory and builds a project outside against it.
#   cmake -DBUILD=... -DSOURCE=.../consumer -DCXX=... -DFLAGS=... -DTYPE=... -P install_test.cmake
set(root ${BUILD}/install_test)
file(REMOVE_RECURSE ${root})

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGV}: ${result}\n${output}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${root}/prefix --component client)
run(${CMAKE_COMMAND} -G Ninja -S ${SOURCE} -B ${root}/build -DCMAKE_PREFIX_PATH=${root}/prefix
    -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_BUILD_TYPE=${TYPE})
run(${CMAKE_COMMAND} --build ${root}/build)
run(${root}/build/consumer)

# Nothing of the build tree may be left in what was installed.
file(GLOB_RECURSE package_files ${root}/prefix/*.cmake)
foreach(file ${package_files})
  file(READ ${file} text)
  string(FIND "${text}" "${BUILD}" at)
  if(NOT at EQUAL -1)
    message(FATAL_ERROR "${file} names the build tree")
  endif()
endforeach()
file(REMOVE_RECURSE ${root})
