"""The stand-in refuses what SingleStore does and MySQL alone would not; each of these tests fails without its rule."""

from __future__ import annotations

import pytest

from tests.servers.singlestore import SingleStore

errors = pytest.importorskip("singlestoredb.exceptions")


@pytest.fixture(scope="module")
def stand(singlestore: SingleStore) -> SingleStore:
    singlestore.create_database("rules")
    singlestore.query("create table t (id bigint, v varchar(20), primary key (id), shard key (id))", "rules")
    return singlestore


@pytest.mark.parametrize(
    ("sql", "number"),
    [
        ("update t set id = 2 where id = 1", 1706),
        ("update t x join t y on x.id = y.id set x.id = 2", 1706),
        ("create table u (a int auto_increment primary key)", 1706),
        ("create table u (a bigint primary key, b int unique)", 1744),
        ("create table u (a bigint, b bigint, primary key (a, b), unique (a), shard key (b))", 1744),
        ("create table u (a bigint, b bigint, primary key (a), unique (a, b), shard key (a))", 1706),
        ("create table u (a bigint primary key, b bigint references t (id))", 1706),
        ("create table u (a bigint, foreign key (a) references t (id))", 1706),
        ("create table u (a datetime(3))", 1706),
        ("create table u (a timestamp(1))", 1706),
        ("savepoint here", 1706),
        ("xa start 'x'", 1706),
        ("lock tables t write", 1706),
        ("set session transaction isolation level repeatable read", 1706),
        ("select get_lock('a', 1)", 1706),
        ("merge into t using t s on t.id = s.id when matched then delete", 1706),
        ("select json_merge_preserve('{}', '{}')", 1305),
    ],
)
def test_it_refuses(stand: SingleStore, sql: str, number: int) -> None:
    with pytest.raises(errors.Error) as refused:
        stand.query(sql, "rules")
    assert refused.value.args[0] == number


def test_it_takes_what_only_singlestore_has(stand: SingleStore) -> None:
    stand.query(
        "create rowstore table w (a bigint, b text, sort key (b), shard key part (a), primary key (a))", "rules"
    )
    stand.query("insert into w values (1, 'a'), (2, '), shard key (b')", "rules")
    assert stand.query("select b from w where a = 2", "rules") == [("), shard key (b",)]
    stand.query("update w set b = 'b' where a = 2 limit 1", "rules")
    stand.query("delete from w where b = 'b' limit 1", "rules")
    assert stand.query("select a from w", "rules") == [(1,)]
    assert stand.query("select @@memsql_version > '8'")[0][0] == 1
    processes = (
        "select p.NODE_ID, aggregator_id() from information_schema.MV_PROCESSLIST p where p.ID = connection_id()"
    )
    assert stand.query(processes) == [(1, 1)]


def test_a_connection_has_its_number_on_one_node_only(stand: SingleStore) -> None:
    with stand.session() as link, link.cursor() as cursor:
        cursor.execute("select connection_id()")
        number = cursor.fetchall()[0][0]
        with pytest.raises(errors.Error) as refused:
            stand.query(f"kill connection {number} 2")
        assert refused.value.args[0] == 1094
        stand.query(f"kill connection {number} 1")
        with pytest.raises(errors.Error):
            cursor.execute("select 1")


def test_a_transaction_writes_to_one_database(stand: SingleStore) -> None:
    stand.create_database("rules2")
    stand.query("create table t (id bigint, v varchar(20), primary key (id), shard key (id))", "rules2")
    with stand.session(database="rules") as link, link.cursor() as cursor:
        for id, begin, end in ((7, "start transaction", "commit"), (8, "set autocommit = 0", "rollback")):
            cursor.execute(begin)
            cursor.execute(f"insert into t values ({id}, 'a')")
            for second in (
                "insert into rules2.t values (7, null)",
                "update `rules2`.`t` set v = 7",
                "delete a from rules2.t a join t b on a.id = b.id",
                "delete from rules2.t",
                "load data local infile 'x' into table rules2.t",
            ):
                with pytest.raises(errors.Error, match="multiple databases") as refused:
                    cursor.execute(second)
                assert refused.value.args[0] == 1706
            cursor.execute(end)
            cursor.execute("insert into rules2.t values (8, null)")
            cursor.execute("delete from rules2.t")
            cursor.execute("commit")


def test_statements_and_rows_may_come_in_many_packets(stand: SingleStore) -> None:
    stand.mysql.client("set global max_allowed_packet = 1073741824")
    with stand.session() as link, link.cursor() as cursor:
        text = "x" * (17 << 20)
        cursor.execute(f"select '{text}', length('{text}')")
        row = cursor.fetchall()[0]
    assert (len(row[0]), row[1]) == (17 << 20, 17 << 20)


def test_nobody_comes_in_with_a_wrong_password(stand: SingleStore) -> None:
    with pytest.raises(errors.OperationalError) as refused, stand.session(password="wrong"):
        pass
    assert refused.value.args[0] == 1045
