# The application's own migrations. Those of the accounts are among them.
#
#   go generate ./ent
#   atlas migrate diff NAME --env postgres     write the next migration
#   atlas migrate diff NAME --env sqlite
#
# The program applies them when it starts.

variable "dev_url" {
  type    = string
  default = getenv("DEV_URL") # an empty database of PostgreSQL, with search_path=public
}

env "postgres" {
  src = "file://schema.postgres.sql"
  dev = var.dev_url
  migration {
    dir = "file://migrations/postgres"
  }
}

env "sqlite" {
  src = "file://schema.sqlite.sql"
  dev = "sqlite://dev?mode=memory&_fk=1"
  migration {
    dir = "file://migrations/sqlite3"
  }
}
