#include "tools/kurultai/config_file.h"

#include "config/load.h"

namespace kurultai {

Answer<Config> read_config(const std::string& file) {
  auto config = load_config(file, process_environment());
  if (config) return std::move(*config);
  if (config.error().size() == 1) return complaint(ExitStatus::usage, to_string(config.error().front()));
  Complaint wrong;
  wrong.text = file + ": " + std::to_string(config.error().size()) + " errors";
  for (const auto& error : config.error()) wrong.details.push_back(to_string(error));
  return std::unexpected(std::move(wrong));
}

}  // namespace kurultai
