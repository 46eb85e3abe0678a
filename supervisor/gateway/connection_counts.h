// How many connections there are and who holds them: whether one more is let in, and where to. Above the
// limits a few are served from a reserve, one request each, so that whoever watches the supervisor still sees
// it. Pure.
#pragma once

#include <map>
#include <string>

namespace kurultai {

class ConnectionCounts {
 public:
  struct Limits {
    int all;
    int per_peer;
  };
  enum class Place { usual, reserve, none };

  /// Where a connection of `peer` (an address, or a user) goes; it is counted there.
  Place add(const std::string& peer, const Limits& limits);
  void remove(const std::string& peer, Place place);

  /// A crowd of one peer must not keep others from the reserve.
  static constexpr int reserve = 64;
  static constexpr int reserve_per_peer = 16;

 private:
  struct Counts {
    int usual = 0;
    int reserve = 0;
  };
  Counts all_;
  std::map<std::string, Counts> peers_;  // those that hold any
};

}  // namespace kurultai
