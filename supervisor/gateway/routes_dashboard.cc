// `GET /`: the page. It holds no data, so it asks for no token; what it shows it asks for as any client does.
#include "supervisor/gateway/dashboard.h"
#include "supervisor/gateway/gateway.h"

namespace kurultai {

void Gateway::get_dashboard(const std::shared_ptr<Exchange>& exchange, const std::string&) {
  const std::string_view known = exchange->request().header("if-none-match");
  const Headers about = {{"ETag", std::string(dashboard.tag)}, {"Cache-Control", "no-cache"}};
  // A list of tags, weak ones too; no other contains ours with its quotes.
  if (known == "*" || known.find(dashboard.tag) != std::string_view::npos)
    return exchange->respond(304, "", "", about);
  Headers headers = about;
  headers.emplace_back("Content-Security-Policy", dashboard.policy);
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  headers.emplace_back("Referrer-Policy", "no-referrer");
  exchange->respond(200, "text/html; charset=utf-8", std::string(dashboard.page), headers);
}

}  // namespace kurultai
