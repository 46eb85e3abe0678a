// Plain questions to the supervisor, one at a time: the answer's text, or why there is none.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "protocol/duration.h"
#include "tools/kurultai/complaint.h"
#include "tools/kurultai/http.h"

namespace kurultai {

/// An object as the API sends it, without the newline behind it: who prints it ends the line.
std::string without_newline(std::string body);

/// The body of a 2xx answer, without its last newline; a refusal becomes a complaint.
Answer<std::string> body_of(Answer<Response> response);

Answer<std::string> get(Http& http, const std::string& path);
Answer<std::string> post(Http& http, const std::string& path, const std::string& body,
                         Duration timeout = std::chrono::seconds(60));

/// The supervisor's JSON; anything else is a complaint (something that is no supervisor listens there).
Answer<nlohmann::json> parse_answer(const std::string& body);
Answer<nlohmann::json> get_json(Http& http, const std::string& path);

/// Gets `path` and prints it: the object itself, or what `as_text` makes of it.
Answer<ExitStatus> show(Http& http, const std::string& path, bool as_json,
                        std::string (*as_text)(const nlohmann::json&));

/// Streams a 2xx body to `fd` and returns how many bytes there were.
Answer<std::int64_t> copy_to(Http& http, const std::string& path, int fd, bool endless = false);

/// Writes everything, whatever the sizes of the writes; the errno on failure, else 0. EINTR after a second
/// Ctrl-C.
int write_all(int fd, std::string_view bytes);

/// `/v1/tasks/ID` with the id escaped.
std::string task_path(const std::string& id);

}  // namespace kurultai
