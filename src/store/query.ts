import { type Compilable, type CompiledQuery, type Kysely, type RawBuilder, sql } from 'kysely'
import type { Schema } from './schema.ts'

/** Stands in a query where a value is put each time it runs. */
class Place {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** Makes the place of a value. */
export type PlaceOf<Values> = <Name extends keyof Values & string>(
  name: Name,
) => RawBuilder<Values[Name]>

/** A query without its values: a function of a module, so that it is the same each time. */
type Query<Values, Row> = (db: Kysely<Schema>, place: PlaceOf<Values>) => Compilable<Row>

/** Runs a query with values, within a transaction if `db` is one. */
export type RunQuery = <Values extends object, Row>(
  db: Kysely<Schema>,
  query: Query<Values, Row>,
  values: Values,
) => Promise<readonly Row[]>

/**
 * Keeps queries compiled, because to build and compile one takes longer than SQLite takes to answer
 * it. For those that run at each refresh; all others are built when they are wanted.
 */
export function createRunQuery(): RunQuery {
  const compiled = new Map<unknown, CompiledQuery>()
  return async <Values extends object, Row>(
    db: Kysely<Schema>,
    query: Query<Values, Row>,
    values: Values,
  ) => {
    const known = compiled.get(query) ?? query(db, placeOf).compile()
    compiled.set(query, known)
    const given = new Map<string, unknown>(Object.entries(values))
    const parameters = known.parameters.map(one =>
      one instanceof Place ? given.get(one.name) : one,
    )
    const { rows } = await db.executeQuery<Row>({ ...known, parameters })
    return rows
  }
}

function placeOf<T>(name: string): RawBuilder<T> {
  return sql<T>`${new Place(name)}`
}
