from llegada.testing.plugin import ServiceDatabase


async def test_a_schema_is_migrated_and_twice_is_harmless(service_database: ServiceDatabase) -> None:
    database = await service_database("payment_worker")
    await service_database("payment_worker")
    row = await database.fetchrow("select current_user::text as role, count(*) as n from outbox")
    assert row is not None
    assert (row["role"], row["n"]) == ("llegada_system", 0)
