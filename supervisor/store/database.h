// A SQLite database and its statements. Any thread, one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kurultai {

/// Parameters and columns count from 0.
class Statement {
 public:
  Statement& bind(int parameter, std::string_view text);  // not copied: has to be there until it has run
  Statement& bind(int parameter, std::int64_t number);
  Statement& bind(int parameter, double number);
  template <typename Value>
  Statement& bind(int parameter, const std::optional<Value>& value) {
    return value ? bind(parameter, *value) : bind_null(parameter);
  }
  Statement& bind_null(int parameter);

  /// For what gives no rows. Ready for the next values afterwards.
  Result<void> run();
  /// Whether there is another row.
  Result<bool> step();

  std::string text(int column) const;
  std::int64_t number(int column) const;
  double real(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  Statement(sqlite3_stmt* statement, const std::string& path) : statement_(statement), path_(path) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::string path_;
};

/// Of an error of the classes here: the disk was full.
bool is_lack_of_room(const Error& error);
/// Of an error of the classes here: a call of the system failed. That says nothing against the file.
bool is_of_the_system(const Error& error);

class Database {
 public:
  /// Opens or makes the file.
  static Result<Database> open(const std::string& path);

  /// Statements that give no rows and take no values.
  Result<void> execute(const char* sql);
  Result<Statement> prepare(std::string_view sql);
  /// The first column of the first row.
  Result<std::int64_t> number(const char* sql);
  /// Whether the file is still where it was: whoever removed it took all that is written from now on.
  bool is_in_place() const;

 private:
  struct Close {
    void operator()(sqlite3* database) const noexcept;
  };
  Database(sqlite3* database, std::string path) : database_(database), path_(std::move(path)) {}

  std::unique_ptr<sqlite3, Close> database_;
  std::string path_;
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
};

}  // namespace kurultai
