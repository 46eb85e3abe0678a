#pragma once

namespace kurultai {

/// A visitor for std::visit, made of one function for each kind.
template <typename... Cases>
struct overloaded : Cases... {
  using Cases::operator()...;
};

}  // namespace kurultai
