module example.com/shop

go 1.26.1

require github.com/mattn/go-sqlite3 v1.14.24
