// Goal: writes that share a commit keep their own outcomes, and nobody is answered before the commit.
// Method: a real SQLite file, read through a second connection.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { CompiledQuery, type Kysely } from 'kysely'
import { realClock, realTurn } from '../system/real.ts'
import type { Write } from './group-commit.ts'
import type { Schema } from './schema.ts'
import { openSqlite } from './sqlite.ts'

interface Opened {
  readonly write: Write
  /** What others see, in order. */
  readonly stored: () => readonly string[]
  readonly refuseWrites: (isRefused: boolean) => Promise<void>
}

async function open(t: TestContext): Promise<Opened> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'group-commit-'))
  const file = path.join(folder, 'a.db')
  const database = await openSqlite(file, { clock: realClock, gather: realTurn })
  const run = (text: string) => database.db.executeQuery(CompiledQuery.raw(text))
  await run('create table marks (name text primary key)')
  const other = new DatabaseSync(file)
  const names = other.prepare('select name from marks order by name')
  t.after(async () => {
    other.close()
    await database.db.destroy()
    rmSync(folder, { recursive: true })
  })
  return {
    write: database.writeAll,
    stored: () => names.all().map(row => String(row.name)),
    refuseWrites: async isRefused => void (await run(`pragma query_only = ${isRefused ? 1 : 0}`)),
  }
}

/** Writes a mark; answers what others see when its caller is told. */
function mark(name: string) {
  return async (db: Kysely<Schema>): Promise<string> => {
    await db.executeQuery(CompiledQuery.raw('insert into marks values (?)', [name]))
    return name
  }
}

test('writes of one turn share a commit, and each is answered after it', async t => {
  const { write, stored } = await open(t)
  const seen = ['a', 'b', 'c'].map(name => write(mark(name)).then(stored))
  for (const marks of await Promise.all(seen)) assert.deepEqual(marks, ['a', 'b', 'c'])
})

test('a write that fails leaves nothing, and takes no other with it', async t => {
  const { write, stored } = await open(t)
  await write(mark('there'))
  const late = async (db: Kysely<Schema>) => {
    await mark('half')(db)
    throw new Error('no')
  }
  const outcomes = await Promise.allSettled(
    [mark('a'), late, mark('there'), mark('b')].map(work => write<string>(work)),
  )
  assert.deepEqual(
    outcomes.map(one => (one.status === 'fulfilled' ? one.value : one.reason.message)),
    ['a', 'no', 'UNIQUE constraint failed: marks.name', 'b'],
  )
  assert.deepEqual(stored(), ['a', 'b', 'there'])
})

test('a database that takes no writes says so to each, and takes the next when it can', async t => {
  const { write, stored, refuseWrites } = await open(t)
  await refuseWrites(true)
  const outcomes = await Promise.allSettled(['a', 'b'].map(name => write(mark(name))))
  for (const one of outcomes) {
    assert.ok(one.status === 'rejected')
    assert.match(String(one.reason), /readonly database/)
  }
  await refuseWrites(false)
  await write(mark('c'))
  assert.deepEqual(stored(), ['c'])
})

test('what comes during a commit goes into the next', async t => {
  const { write, stored } = await open(t)
  const later: Promise<readonly string[]>[] = []
  await write(async db => {
    later.push(write(mark('later')).then(stored))
    return mark('first')(db)
  })
  assert.deepEqual(stored(), ['first'])
  assert.deepEqual(await Promise.all(later), [['first', 'later']])
})

test('a group has at most 128 writes, and the event loop turns between two', async t => {
  const { write, stored } = await open(t)
  const seen = Array.from({ length: 129 }, (_, at) => write(mark(`m${at}`)).then(stored))
  const counts = (await Promise.all(seen)).map(marks => marks.length)
  assert.deepEqual(counts, [...Array.from({ length: 128 }, () => 128), 129])
})
