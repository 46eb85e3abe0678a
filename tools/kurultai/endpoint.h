// Where the supervisor is: a Unix socket or a URL, from the command line, the environment or the defaults.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/load.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

struct ConnectOptions {
  std::string socket;
  std::string url;
  std::string token_file;
};

struct Endpoint {
  std::string socket;               // empty: TCP
  std::string url;                  // scheme and authority, without a slash at the end
  std::string token;                // empty: none is sent
  std::vector<std::string> places;  // the sockets that were looked for, when none exists; else the one place

  /// `/run/kurultai/kurultai.sock`, or `A or B` when neither was there.
  std::string name() const;
};

/// The command line wins over the environment, and a socket over a URL. Without either the first default
/// socket for which `exists` is true; when there is none the endpoint names them all, and connecting to it
/// fails.
Answer<Endpoint> choose_endpoint(const ConnectOptions& options, const Environment& environment, bool is_root,
                                 const std::function<bool(const std::string&)>& exists);

/// The same with the real environment and files.
Answer<Endpoint> choose_endpoint(const ConnectOptions& options);

/// The token that stands in a file; the complaint names the file.
Answer<std::string> read_token(const std::string& path);

}  // namespace kurultai
