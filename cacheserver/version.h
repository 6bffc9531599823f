// What this build is called; CMake gives the number.
#pragma once

namespace cistern::cacheserver {

#ifndef CISTERN_VERSION
#define CISTERN_VERSION "0.0.0"
#endif
inline constexpr char kVersion[] = CISTERN_VERSION;

}  // namespace cistern::cacheserver
