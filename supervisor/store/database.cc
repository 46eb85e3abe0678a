#include "supervisor/store/database.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace kurultai {

namespace {

/// What SQLite told its log of a system call that failed in the work under way on this thread.
thread_local std::string failed_call;

/// "os_unix.c:44068: (24) open(/x/journal.db-wal) - …": Debian's has no words for the number.
void note_failed_call(void*, int, const char* message) noexcept {
  const std::string_view text(message);
  const std::size_t number = text.find(": (");
  const std::size_t call = text.find(") ", number);
  if (!text.starts_with("os_unix.c:") || number == std::string_view::npos || call == std::string_view::npos)
    return;
  int code = 0;
  const auto [end, error] = std::from_chars(text.data() + number + 3, text.data() + call, code);
  if (error != std::errc() || code == 0) return;
  const std::size_t words = std::min(text.rfind(" - "), text.size());
  failed_call = text.substr(call + 2, words - call - 2);
  failed_call += ": " + std::string(std::strerror(code));
}

/// Before SQLite is used for the first time.
void listen_to_log() {
  [[maybe_unused]] static const int status = sqlite3_config(SQLITE_CONFIG_LOG, note_failed_call, nullptr);
}

/// The errno behind the failure; 0: none is known.
int system_code(sqlite3* database) {
  if (const int code = sqlite3_system_errno(database); code != 0) return code;
  int code = 0;
  sqlite3_file_control(database, "main", SQLITE_FCNTL_LAST_ERRNO, &code);
  return code;
}

/// What SQLite says, and the system's own reason where there is one. `code` is SQLite's.
std::unexpected<Error> trouble_with(sqlite3* database, const std::string& path) {
  int code = sqlite3_extended_errcode(database);
  const int system = system_code(database);
  std::string message = sqlite3_errmsg(database);
  // A page that could not be read is "malformed" to it: nobody should throw the file away for that.
  if ((code & 0xff) == SQLITE_CORRUPT && system != 0) {
    code = SQLITE_IOERR_READ;
    message = sqlite3_errstr(code);
  }
  struct stat status{};
  if (code == SQLITE_CANTOPEN && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
    code = SQLITE_CANTOPEN_ISDIR;  // which it has for itself, and does not tell
  if (const std::string call = std::exchange(failed_call, {}); !call.empty()) {
    message += " (" + call + ")";
  } else if (system != 0) {
    message += " (" + std::string(std::strerror(system)) + ")";
  }
  return failure(path + ": " + message, code);
}

struct Identity {
  std::uint64_t device, inode;
};

std::optional<Identity> identity_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return Identity{status.st_dev, status.st_ino};
}

}  // namespace

bool is_lack_of_room(const Error& error) { return (error.code & 0xff) == SQLITE_FULL; }

bool is_of_the_system(const Error& error) {
  const int code = error.code & 0xff;
  return code == SQLITE_IOERR || code == SQLITE_NOMEM || code == SQLITE_READONLY ||
         (code == SQLITE_CANTOPEN && error.code != SQLITE_CANTOPEN_ISDIR);
}

void Statement::Finalize::operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }

Statement& Statement::bind(int parameter, std::string_view text) {
  // A view of nothing has no address, which SQLite takes for NULL.
  sqlite3_bind_text64(statement_.get(), parameter + 1, text.empty() ? "" : text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind(int parameter, std::int64_t number) {
  sqlite3_bind_int64(statement_.get(), parameter + 1, number);
  return *this;
}

Statement& Statement::bind(int parameter, double number) {
  sqlite3_bind_double(statement_.get(), parameter + 1, number);
  return *this;
}

Statement& Statement::bind_null(int parameter) {
  sqlite3_bind_null(statement_.get(), parameter + 1);
  return *this;
}

Result<void> Statement::run() {
  failed_call.clear();
  const int status = sqlite3_step(statement_.get());
  Result<void> result;
  if (status != SQLITE_DONE && status != SQLITE_ROW)
    result = trouble_with(sqlite3_db_handle(statement_.get()), path_);
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  return result;
}

Result<bool> Statement::step() {
  failed_call.clear();
  const int status = sqlite3_step(statement_.get());
  if (status == SQLITE_ROW) return true;
  if (status == SQLITE_DONE) return false;
  return trouble_with(sqlite3_db_handle(statement_.get()), path_);
}

std::string Statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return bytes == nullptr ? std::string() : std::string(bytes, size);
}

std::int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }
bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

Result<Database> Database::open(const std::string& path) {
  listen_to_log();
  failed_call.clear();
  sqlite3* raw = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int status = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Database database(raw, path);  // there also when it could not be opened
  if (raw == nullptr) return failure(path + ": no memory to open it");
  if (status != SQLITE_OK) return trouble_with(raw, path);
  if (sqlite3_db_readonly(raw, "main") == 1) return failure(path + ": cannot be written", SQLITE_READONLY);
  if (const auto identity = identity_of(path)) {
    database.device_ = identity->device;
    database.inode_ = identity->inode;
  }
  return database;
}

Result<void> Database::execute(const char* sql) {
  failed_call.clear();
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return trouble_with(database_.get(), path_);
}

Result<Statement> Database::prepare(std::string_view sql) {
  failed_call.clear();
  sqlite3_stmt* statement = nullptr;
  const int status = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (status != SQLITE_OK) return trouble_with(database_.get(), path_);
  return Statement(statement, path_);
}

Result<std::int64_t> Database::number(const char* sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return failure(path_ + ": '" + sql + "' gave nothing");
  return statement->number(0);
}

bool Database::is_in_place() const {
  const auto identity = identity_of(path_);
  return identity && identity->device == device_ && identity->inode == inode_;
}

}  // namespace kurultai
