// A /tmp of its own: a tmpfs of limited size in a mount namespace that ends with its processes. What lies in
// it is charged to the memory group of whoever writes it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "protocol/bytes.h"

namespace kurultai {

/// The right by which it is mounted: that of root, or that over a user namespace of its own.
enum class MountRight { root, user_namespace };

/// All that is needed, prepared beforehand: it is used where nothing may be allocated.
struct TmpMount {
  MountRight right = MountRight::root;
  std::string options;            // of the tmpfs
  std::string uid_map, gid_map;   // of a user namespace
  std::vector<std::string> made;  // directories to be made in it, parents first
  std::vector<std::string> kept;  // directories below /tmp that are to be seen in the new one
  static constexpr std::size_t most_kept = 4;
};

/// `uid` and `gid` are those of who is to work there; `kept` are absolute paths, of which only those below
/// /tmp count.
TmpMount tmp_mount(MountRight right, Bytes size, uid_t uid, gid_t gid, const std::vector<std::string>& kept);

/// Enters new namespaces and mounts. Null, or what failed (errno says why): `unshare`, `map`, `mount`,
/// `keep`. System calls only.
const char* enter_tmp(const TmpMount& mount);

/// How a private tmp can be had here, by trying: "root", "userns", or "directory: WHY", where there is no
/// hard limit. For a process of its own, which is in other namespaces afterwards.
std::string try_tmp();

}  // namespace kurultai
