// Ownership of libuv handles. A handle must outlive its uv_close callback, so the memory belongs to the loop
// from the moment of closing: the deleter clears `data` (late callbacks return early) and frees in the close
// callback.
#pragma once

#include <uv.h>

#include <memory>
#include <utility>

#include "protocol/error.h"
#include "supervisor/uv/loop.h"

namespace kurultai::uv {

/// Closes and frees in the close callback, whatever the kind of handle.
template <typename Handle>
void close_handle(Handle* handle) noexcept {
  handle->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(handle),
           [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
}

/// Takes over an initialised handle (one that was never initialised must not be closed) and points it at its
/// owner.
template <typename Handle>
std::unique_ptr<Handle, CloseHandle> own(std::unique_ptr<Handle> handle, void* owner) {
  handle->data = owner;
  return std::unique_ptr<Handle, CloseHandle>(handle.release());
}

/// Calls `owner->*callback`. The callback may destroy its owner, and with it the function that is running: so
/// the function is moved out for the call, and back only if the handle was not closed meanwhile (its memory
/// lives until the close callback, in a later turn of the loop).
template <typename Owner, typename Handle, typename Function, typename... Arguments>
void call_safely(Handle* handle, Function Owner::* callback, Arguments&&... arguments) {
  auto* owner = static_cast<Owner*>(handle->data);
  if (owner == nullptr || !(owner->*callback)) return;
  Function running = std::move(owner->*callback);
  running(std::forward<Arguments>(arguments)...);
  if (handle->data == owner && !(owner->*callback)) owner->*callback = std::move(running);
}

inline std::unexpected<Error> uv_failure(std::string_view doing, int status) {
  return system_failure(doing, -status);  // libuv's codes are negated errnos on Unix
}

}  // namespace kurultai::uv
