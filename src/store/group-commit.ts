import type { Kysely } from 'kysely'
import type { Schema } from './schema.ts'

/** Writes in one group, at most: while it is written nothing else of the gateway goes on. */
const GROUP_MAX = 128

/** Runs a piece of writing; what it did is on the disk when this resolves. */
export type Write = <T>(work: (db: Kysely<Schema>) => Promise<T>) => Promise<T>

/** A piece of writing in line. */
interface Waiting {
  /** Does it; the answer tells its caller, once it is committed. */
  attempt(db: Kysely<Schema>): Promise<() => void>
  fail(error: unknown): void
}

/**
 * Lets writes that come at the same time share a transaction, because the disk takes as long for one
 * commit as for a hundred. Each keeps an outcome of its own: one that throws is rolled back with the
 * others, which are then written without it. Nobody is answered before the commit.
 *
 * `gather` waits until the writes that come at the same time have come.
 */
export function createGroupCommit(db: Kysely<Schema>, gather: () => Promise<void>): Write {
  let line: Waiting[] = []
  let isWriting = false

  const writeAll = async (): Promise<void> => {
    isWriting = true
    while (line.length > 0) {
      await gather()
      const group = line.slice(0, GROUP_MAX)
      line = line.slice(GROUP_MAX)
      await commit(db, group)
    }
    isWriting = false
  }

  return work => {
    const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<typeof work>>>()
    line.push({
      async attempt(within) {
        const value = await work(within)
        return () => resolve(value)
      },
      fail: reject,
    })
    if (!isWriting) void writeAll()
    return promise
  }
}

/** Never rejects: each write of the group is told its own outcome. */
async function commit(db: Kysely<Schema>, group: readonly Waiting[]): Promise<void> {
  let failing: Waiting | null = null
  try {
    const settled = await db.transaction().execute(async within => {
      const done: (() => void)[] = []
      for (const one of group) {
        failing = one
        done.push(await one.attempt(within))
      }
      failing = null
      return done
    })
    for (const settle of settled) settle()
  } catch (error) {
    // Without one to blame it is the database: it could not begin, or not commit.
    const failed = group.filter(one => failing === null || one === failing)
    for (const one of failed) one.fail(error)
    const others = group.filter(one => !failed.includes(one))
    if (others.length > 0) await commit(db, others)
  }
}
