"""What statements in the binlog mean for captured tables."""

from __future__ import annotations

import pytest

from whimbrel.codecs.binlog import Query
from whimbrel.connectors.mysql.source.statements import Effect, meaning
from whimbrel.connectors.mysql.tokens import ANSI_QUOTES, NO_BACKSLASH_ESCAPES
from whimbrel.model.names import TableName

ORDERS, ODD = TableName("shop", "orders"), TableName("shop", "we`ird name")
CAPTURED = {name: frozenset({"primary", "by_mail"}) for name in (ORDERS, ODD, TableName("other", "orders2"))}


@pytest.mark.parametrize(
    ("sql", "effect", "tables"),
    [
        ("BEGIN", Effect.BEGIN, ()),
        ("START TRANSACTION", Effect.BEGIN, ()),
        ("COMMIT", Effect.COMMIT, ()),
        ("ROLLBACK", Effect.ROLLBACK, ()),
        ("ROLLBACK TO `sp`", Effect.ROLLBACK_TO, ()),
        ("SAVEPOINT `sp`", Effect.NONE, ()),
        ("XA START X'61',X'',1", Effect.XA, ()),
        ("TRUNCATE orders", Effect.TRUNCATE, (ORDERS,)),
        ("truncate /* why */ table `shop`.`orders`", Effect.TRUNCATE, (ORDERS,)),
        ("TRUNCATE TABLE elsewhere", Effect.NONE, ()),
        # blanks are needed between two words only, and any name may stand behind the dot
        ("TRUNCATE TABLE`orders`", Effect.TRUNCATE, (ORDERS,)),
        ("TRUNCATE`shop`.`orders`;", Effect.TRUNCATE, (ORDERS,)),
        ("TRUNCATE/**/TABLE\tshop/* x */. /*!50000 `orders` */-- end", Effect.TRUNCATE, (ORDERS,)),
        ("TRUNCATE .orders", Effect.TRUNCATE, (ORDERS,)),
        ("DROP TABLE`a`,`orders`", Effect.LAYOUT, (ORDERS,)),
        ("DROP/*!TABLE*/`orders`", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE`orders`DROP`x`", Effect.LAYOUT, (ORDERS,)),
        ("RENAME TABLE`a`TO`orders`", Effect.LAYOUT, (ORDERS,)),
        ("DROP INDEX`by_mail`ON`orders`", Effect.LAYOUT, (ORDERS,)),
        ("DROP DATABASE`shop`", Effect.LAYOUT, (ORDERS, ODD)),
        ("CREATE OR REPLACE TABLE`orders`LIKE x", Effect.LAYOUT, (ORDERS,)),
        # what takes a table's place
        ("CREATE OR REPLACE DATABASE shop", Effect.LAYOUT, (ORDERS, ODD)),
        ("CREATE OR REPLACE SEQUENCE orders", Effect.LAYOUT, (ORDERS,)),
        ("CREATE OR REPLACE INDEX by_mail ON orders (x)", Effect.LAYOUT, (ORDERS,)),
        ("CREATE OR REPLACE INDEX other USING BTREE ON orders (x)", Effect.NONE, ()),
        ("ALTER TABLE fresh RENAME orders, ALGORITHM=INPLACE", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders COMMENT='x' ENGINE=BLACKHOLE", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders ENGINE=MyISAM ROW_FORMAT=FIXED DEFAULT CHARACTER SET = latin1", Effect.NONE, ()),
        ("ALTER TABLE orders ENGINE=InnoDB REMOVE PARTITIONING", Effect.NONE, ()),
        ("ALTER TABLE orders ADD COLUMN (x INT)", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders ADD SYSTEM VERSIONING", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders CONVERT PARTITION p TO TABLE x", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders ADD CONSTRAINT `primary` CHECK (a > 1)", Effect.NONE, ()),
        ("ALTER TABLE orders ALTER a DROP DEFAULT, ALTER INDEX i INVISIBLE", Effect.NONE, ()),
        # what is not known stops the stream if it names a captured table, and only then
        ("TRANSMUTE TABLE orders", Effect.UNKNOWN, (ORDERS,)),
        ("TRANSMUTE TABLE nothing", Effect.NONE, ()),
        ("TRUNCATE TABLE orders PARTLY", Effect.UNKNOWN, (ORDERS,)),
        ("DROP HYPERTABLE x, `shop`.`we``ird name`", Effect.UNKNOWN, (ODD,)),
        ("ALTER TABLE orders (", Effect.UNKNOWN, (ORDERS,)),
        ("DROP TABLE `orders`, 'text", Effect.UNKNOWN, (ORDERS,)),
        ("DROP TABLE `x`, 'text", Effect.NONE, ()),
        ("CREATE DEFINER=`root`@`%` PROCEDURE p() BEGIN TRUNCATE orders; END", Effect.NONE, ()),
        ("CREATE OR REPLACE ALGORITHM=MERGE VIEW orders_view AS SELECT * FROM orders", Effect.NONE, ()),
        ("CREATE UNIQUE INDEX i ON orders (a)", Effect.NONE, ()),
        ("(SELECT counted(5))", Effect.ROWS, (ORDERS, ODD)),
        ("ALTER TABLE orders ADD COLUMN x INT", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders ADD INDEX (x), ADD x INT", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders ADD PRIMARY KEY (id)", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders DROP PARTITION p0", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders TRUNCATE PARTITION p0", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders CONVERT TO CHARACTER SET latin1", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders RENAME TO old", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE fresh RENAME orders", Effect.LAYOUT, (ORDERS,)),
        ("ALTER ONLINE TABLE shop.orders MODIFY x BIGINT COMMENT 'a, b'", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE `we``ird name` DROP x", Effect.LAYOUT, (ODD,)),
        ("ALTER TABLE orders ADD INDEX i (a, b), ADD UNIQUE KEY (c), COMMENT 'x, DROP y'", Effect.NONE, ()),
        ("ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES p (id) ON DELETE RESTRICT", Effect.NONE, ()),
        # a cascade changes rows without a trace in the log; IGNORE drops rows
        ("ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES p (id) ON UPDATE SET NULL", Effect.LAYOUT, (ORDERS,)),
        ("ALTER IGNORE TABLE orders ADD UNIQUE KEY (a)", Effect.LAYOUT, (ORDERS,)),
        # what stands in comments and texts says nothing, and what stands behind them does
        ("ALTER TABLE orders COMMENT '# it\\'s', DROP COLUMN x", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders COMMENT 'a -- b /*', DROP COLUMN x", Effect.LAYOUT, (ORDERS,)),
        ('ALTER TABLE `orders` COMMENT "a, `", DROP COLUMN x', Effect.LAYOUT, (ORDERS,)),
        ("# TRUNCATE orders\nTRUNCATE elsewhere", Effect.NONE, ()),
        # MariaDB's words around a statement
        ("ALTER TABLE orders WAIT 5 DROP COLUMN x", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders NOWAIT ADD INDEX (x)", Effect.NONE, ()),
        ("RENAME TABLE a WAIT 5 TO b, fresh NOWAIT TO orders", Effect.LAYOUT, (ORDERS,)),
        ("SET STATEMENT max_statement_time=9 FOR TRUNCATE orders", Effect.TRUNCATE, (ORDERS,)),
        # rows that come or go with a partition
        ("ALTER TABLE archive EXCHANGE PARTITION p0 WITH TABLE orders", Effect.LAYOUT, (ORDERS,)),
        (
            "ALTER TABLE archive CONVERT TABLE shop.orders TO PARTITION p0 VALUES LESS THAN (5)",
            Effect.LAYOUT,
            (ORDERS,),
        ),
        # a unique key that goes stays on the target
        ("ALTER TABLE orders ADD INDEX (x), DROP KEY `By_Mail`", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders RENAME INDEX by_mail TO x", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders DROP INDEX other_index", Effect.NONE, ()),
        ("DROP INDEX `PRIMARY` ON orders", Effect.LAYOUT, (ORDERS,)),
        ("DROP INDEX IF EXISTS by_mail ON shop.orders", Effect.LAYOUT, (ORDERS,)),
        ("ALTER TABLE orders AUTO_INCREMENT = 7, ENGINE=InnoDB, ALGORITHM=INPLACE, LOCK=NONE", Effect.NONE, ()),
        ("ALTER TABLE orders ALTER COLUMN a SET DEFAULT 5", Effect.NONE, ()),
        ("ALTER TABLE other_one ADD x INT", Effect.NONE, ()),
        ("CREATE INDEX i ON orders (a)", Effect.NONE, ()),
        ("DROP INDEX i ON orders", Effect.NONE, ()),
        ("OPTIMIZE TABLE orders", Effect.NONE, ()),
        ("DROP TABLE IF EXISTS a, `orders` /* generated by server */", Effect.LAYOUT, (ORDERS,)),
        ("DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `orders`", Effect.NONE, ()),
        ("CREATE TEMPORARY TABLE orders (id INT)", Effect.NONE, ()),
        ("CREATE TABLE orders (id INT)", Effect.NONE, ()),
        ("CREATE OR REPLACE TABLE orders (id INT)", Effect.LAYOUT, (ORDERS,)),
        ("RENAME TABLE a TO b, fresh TO orders", Effect.LAYOUT, (ORDERS,)),
        ("RENAME TABLE orders TO _old, other.x TO y", Effect.LAYOUT, (ORDERS,)),
        ("DROP DATABASE other", Effect.LAYOUT, (TableName("other", "orders2"),)),
        ("INSERT INTO orders VALUES (1)", Effect.ROWS, (ORDERS,)),
        ("UPDATE x, `shop`.`orders` SET a = 1", Effect.ROWS, (ORDERS,)),
        # triggers, functions and cascades reach tables that a statement does not name
        ("INSERT INTO orders_archive VALUES (1)", Effect.ROWS, (ORDERS, ODD)),
        ("SELECT `shop`.`counted`(5)", Effect.ROWS, (ORDERS, ODD)),
        ("DELETE FROM `shop`.`cached`", Effect.NONE, ()),
        ("CREATE USER a", Effect.NONE, ()),
        ("GRANT ALL ON shop.orders TO a", Effect.NONE, ()),
        ("", Effect.NONE, ()),
    ],
)
def test_meaning(sql: str, effect: Effect, tables: tuple[TableName, ...]) -> None:
    found = meaning(Query("shop", sql), CAPTURED)
    assert (found.effect, set(found.tables)) == (effect, set(tables))


def test_another_default_schema_is_another_table() -> None:
    assert meaning(Query("else", "ALTER TABLE orders ADD x INT"), CAPTURED).effect is Effect.NONE
    assert meaning(Query("else", "INSERT INTO orders VALUES (1)"), CAPTURED).effect is Effect.NONE
    assert meaning(Query("else", "INSERT INTO shop.x VALUES (1)"), CAPTURED).tables == (ORDERS, ODD)


def test_names_in_any_case_where_the_server_takes_them() -> None:
    for sql in ("TRUNCATE Orders", "TRUNCATE SHOP.ORDERS"):
        assert meaning(Query("shop", sql), CAPTURED).effect is Effect.NONE
        assert meaning(Query("Shop", sql), CAPTURED, folds=True).tables == (ORDERS,)


def test_quotes_mean_what_the_sessions_mode_says() -> None:
    for sql in ('TRUNCATE TABLE"orders"', 'TRUNCATE "shop"."orders"', 'DROP TABLE x, "orders"'):
        assert meaning(Query("shop", sql, ANSI_QUOTES), CAPTURED).tables == (ORDERS,)
    sql = r"ALTER TABLE orders COMMENT 'a\', DROP COLUMN x, COMMENT 'b'"
    assert meaning(Query("shop", sql), CAPTURED).effect is Effect.UNKNOWN
    assert meaning(Query("shop", sql, NO_BACKSLASH_ESCAPES), CAPTURED).effect is Effect.LAYOUT


def test_comments_that_only_mariadb_runs() -> None:
    sql = "TRUNCATE /*M!100100 TABLE `orders` */ /* `x` */"
    assert meaning(Query("shop", sql), CAPTURED, mariadb=True).effect is Effect.TRUNCATE
    assert meaning(Query("shop", "TRUNCATE x /*M! , orders */"), CAPTURED).effect is Effect.NONE


def test_long_statements_about_other_tables_are_not_read() -> None:
    rows = ",".join("('it''s', 1)" for _ in range(40_000))
    assert meaning(Query("else", f"INSERT INTO far VALUES {rows}"), CAPTURED).effect is Effect.NONE
    assert meaning(Query("else", f"INSERT INTO shop.orders VALUES {rows}"), CAPTURED).tables == (ORDERS,)
