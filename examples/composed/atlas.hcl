# The application's own migrations. Those of the accounts are among them.
#
#   go generate ./ent
#   atlas migrate diff NAME --env postgres     write the next migration
#   atlas migrate apply --env postgres

variable "url" {
  type    = string
  default = getenv("DATABASE_URL")
}

variable "dev_url" {
  type    = string
  default = getenv("DEV_URL") # an empty database of PostgreSQL, with search_path=public
}

env "postgres" {
  src = "file://schema.postgres.sql"
  url = var.url
  dev = var.dev_url
  migration {
    dir = "file://migrations/postgres"
  }
}

env "sqlite" {
  src = "file://schema.sqlite.sql"
  url = var.url
  dev = "sqlite://dev?mode=memory&_fk=1"
  migration {
    dir = "file://migrations/sqlite"
  }
}
