import type { CompiledQuery } from 'kysely'
import { sql } from 'kysely'
import { AppError } from '../core/errors.ts'
import type { Database, Listening, StoreContext } from './database.ts'
import type { Change, ChangeCounts, ChangeListener } from './store.ts'
import { orStoreUnavailable } from './trouble.ts'

/** How long a change may go unnoticed whose notification was lost. */
const CHECK_MS = 1_000

/** After a loss of the database it is asked again at first after this, then ever more rarely. */
const BACKOFF_MIN_MS = 100
const BACKOFF_MAX_MS = 1_000

/** See `Store.readChanges`. */
export async function readChanges({ database }: StoreContext): Promise<ChangeCounts> {
  return countsOf(await countsQuery(database).execute())
}

/** See `Store.countChanges`. */
export async function countChanges({ database }: StoreContext, workspace: string): Promise<number> {
  const row = await database.db
    .selectFrom('changes')
    .select('counter')
    .where('workspace', '=', workspace)
    .where('kind', '=', 'bundle')
    .executeTakeFirst()
  return row?.counter ?? 0
}

/**
 * See `Store.followChanges`. Listening begins before the counters are compared, so that nothing falls
 * between the two; whatever a notification did not tell, the comparison does.
 */
export async function followChanges(
  { database, clock, random }: StoreContext,
  { since, listener }: { readonly since: ChangeCounts; readonly listener: ChangeListener },
  signal: AbortSignal,
): Promise<void> {
  const seen = createSeen(since, { listener, ownName: database.name })
  const source = database.listen === null ? pollingSource(database) : listeningSource(database)
  let failures = 0
  while (!signal.aborted) {
    try {
      const rows = await orStoreUnavailable(database.location, () => source.read(seen.notice))
      if (failures > 0) listener.found()
      failures = 0
      if (rows !== null) seen.compare(countsOf(rows))
      await clock.sleep(CHECK_MS, AbortSignal.any([signal, source.lost()]))
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      source.close()
      if (failures === 0) listener.lost(error)
      failures += 1
      const spanMs = Math.min(BACKOFF_MIN_MS * 2 ** (failures - 1), BACKOFF_MAX_MS)
      await clock.sleep(spanMs * (0.5 + random.fraction() / 2), signal)
    }
  }
  source.close()
}

type CountRow = { readonly workspace: string; readonly kind: string; readonly counter: number }

/** Where changes are learnt from. */
interface Source {
  /** The counters; null when nothing can have changed since they were read last. */
  read(onNotice: (text: string) => void): Promise<readonly CountRow[] | null>
  /** Aborts when it has to be read again at once. */
  lost(): AbortSignal
  close(): void
}

const NEVER = new AbortController().signal

/** SQLite tells at no cost whether another connection has written; our own writes need no telling. */
function pollingSource(database: Database): Source {
  let version: unknown = null
  return {
    async read() {
      const { rows } = await sql<{ data_version: number }>`pragma data_version`.execute(database.db)
      const before = version
      version = rows[0]?.data_version
      return before === version ? null : countsQuery(database).execute()
    },
    lost: () => NEVER,
    close: () => {},
  }
}

/** The counters are read over the listening connection, so that one that is dead is noticed. */
function listeningSource(database: Database): Source {
  let listening: Listening | null = null
  return {
    async read(onNotice) {
      listening ??= (await database.listen?.(onNotice)) ?? null
      if (listening?.lost.aborted) throw new Error('The connection that listens was lost')
      const query: CompiledQuery<CountRow> = countsQuery(database).compile()
      return listening === null ? null : listening.query(query)
    },
    lost: () => listening?.lost ?? NEVER,
    close() {
      listening?.close()
      listening = null
    },
  }
}

function countsQuery({ db }: Database) {
  return db.selectFrom('changes').select(['workspace', 'kind', 'counter'])
}

function countsOf(rows: readonly CountRow[]): ChangeCounts {
  return new Map(rows.map(row => [`${row.kind} ${row.workspace}`, row.counter]))
}

/** What was told already. */
function createSeen(
  since: ChangeCounts,
  { listener, ownName }: { readonly listener: ChangeListener; readonly ownName: string },
) {
  let seen = new Map(since)
  const tell = (place: string, rest: Pick<Change, 'id' | 'isOwn'>): void => {
    const [kind, workspace = ''] = place.split(' ')
    // A newer version may count more kinds.
    if (kind === 'bundle' || kind === 'sandboxes') listener.changed({ kind, workspace, ...rest })
  }
  return {
    compare(counts: ChangeCounts): void {
      for (const [place, count] of counts) {
        if (seen.get(place) !== count) tell(place, { id: null, isOwn: false })
      }
      seen = new Map(counts)
    },
    /** `KIND WORKSPACE COUNTER ID BY`; the counter is 0 for what was counted with another. */
    notice(text: string): void {
      const [kind = '', workspace = '', counter = '', id = '', by = ''] = text.split(' ')
      const place = `${kind} ${workspace}`
      // Only without a gap; otherwise the next comparison tells of what is missing.
      if (Number(counter) === (seen.get(place) ?? 0) + 1) seen.set(place, Number(counter))
      tell(place, { id: id === '' ? null : id, isOwn: by === ownName })
    },
  }
}
