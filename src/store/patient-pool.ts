import type { PostgresPool, PostgresPoolClient } from 'kysely'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'

/** A connection that nobody used for this long is asked whether it is alive before it is trusted. */
const IDLE_MS = 2_000
const ALIVE_TIMEOUT_MS = 1_000

/** How long a query waits in line while all connections are busy: longer than the server takes for any. */
const LINE_MS_MAX = 30_000

/** After a connection failed, the next is tried this much later, at first and at most. */
const BACKOFF_MIN_MS = 50
const BACKOFF_MAX_MS = 1_000

/** PostgreSQL's words for a server that is read-only, shuts down, crashes, or is not up yet. */
const LEAVING_CODES = ['25006', '57P01', '57P02', '57P03']

/**
 * The same pool, for a server that comes and goes. While it is away one connection at a time is tried,
 * with a growing pause in between, and whoever else wants one is told at once what the last try met:
 * neither is the server overrun on its return, nor does anyone wait for what is not there. A connection
 * on which anything but the server's own refusal went wrong is never used again, for what it was asked
 * may still be on its way; nor is any that has been idle since before that.
 */
export function patientPool(
  pool: Pick<PostgresPool, 'connect' | 'end'>,
  {
    clock,
    random,
    connectionsMax,
  }: { readonly clock: Clock; readonly random: Random; readonly connectionsMax: number },
): PostgresPool {
  const known = new WeakMap<PostgresPoolClient, Watched>()
  const trouble = createTrouble(clock, random)
  const line = createLine(clock, connectionsMax)

  const watched = (client: PostgresPoolClient): Watched => {
    const before = known.get(client)
    if (before !== undefined) return before
    const made = watchClient(client, { clock, onBroken: trouble.broke, onRelease: line.leave })
    known.set(client, made)
    return made
  }

  return {
    async connect() {
      await line.enter()
      try {
        for (;;) {
          const { client, usedAtMs, discard } = watched(await trouble.through(() => pool.connect()))
          const idleMs = clock.monotonicMs() - usedAtMs()
          const isSuspect = usedAtMs() < trouble.brokeAtMs()
          if (!isSuspect && (idleMs < IDLE_MS || (await isAlive(client, clock)))) return client
          if (!isSuspect) trouble.broke()
          discard()
        }
      } catch (error) {
        line.leave()
        throw error
      }
    },
    end: () => pool.end(),
    options: {},
  }
}

/**
 * As many as there are connections go in, the others stand in line. The pool's own line would give up as
 * soon as the wait for a new connection does, and pass for a server that is away.
 */
function createLine(clock: Clock, placesMax: number) {
  const waiting: PromiseWithResolvers<boolean>[] = []
  let places = placesMax
  return {
    async enter(): Promise<void> {
      if (places > 0) {
        places -= 1
        return
      }
      const turn = Promise.withResolvers<boolean>()
      waiting.push(turn)
      const over = new AbortController()
      const limit = clock.sleep(LINE_MS_MAX, over.signal).then(() => false)
      const isTurn = await Promise.race([turn.promise, limit]).finally(() => over.abort())
      const at = waiting.indexOf(turn)
      // Who is not in line any more was given a place, if only in this very moment.
      if (isTurn || at === -1) return
      waiting.splice(at, 1)
      throw new Error('all connections are busy')
    },
    leave(): void {
      const next = waiting.shift()
      if (next === undefined) places += 1
      else next.resolve(true)
    },
  }
}

/** What is known of the server's being away. */
function createTrouble(clock: Clock, random: Random) {
  let failures = 0
  let lastError: unknown = null
  let retryAtMs = 0
  let isTrying = false
  let brokeAtMs = Number.NEGATIVE_INFINITY
  return {
    brokeAtMs: () => brokeAtMs,
    broke(): void {
      brokeAtMs = clock.monotonicMs()
    },
    async through<T>(connect: () => Promise<T>): Promise<T> {
      const isAway = failures > 0
      if (isAway && (isTrying || clock.monotonicMs() < retryAtMs)) throw lastError
      if (isAway) isTrying = true
      try {
        const connected = await connect()
        failures = 0
        return connected
      } catch (error) {
        failures += 1
        lastError = error
        const spanMs = Math.min(BACKOFF_MIN_MS * 2 ** (failures - 1), BACKOFF_MAX_MS)
        retryAtMs = clock.monotonicMs() + spanMs * (0.5 + random.fraction() / 2)
        throw error
      } finally {
        if (isAway) isTrying = false
      }
    },
  }
}

interface Watched {
  readonly client: PostgresPoolClient
  /** When it was made or given back last, on the monotonic clock. */
  readonly usedAtMs: () => number
  /** Ends the connection of a client that nobody was given. */
  readonly discard: () => void
}

function watchClient(
  inner: PostgresPoolClient,
  {
    clock,
    onBroken,
    onRelease,
  }: { readonly clock: Clock; readonly onBroken: () => void; readonly onRelease: () => void },
): Watched {
  let isBroken = false
  let usedAtMs = clock.monotonicMs()
  const client: PostgresPoolClient = Object.create(inner, {
    query: {
      value: async (sql: string, parameters: readonly unknown[]) => {
        try {
          return await inner.query(sql, parameters)
        } catch (error) {
          if (!isServersWord(error)) {
            isBroken = true
            onBroken()
          }
          throw error
        }
      },
    },
    release: {
      value: (destroy = false) => {
        usedAtMs = clock.monotonicMs()
        inner.release(isBroken || destroy)
        onRelease()
      },
    },
  })
  return { client, usedAtMs: () => usedAtMs, discard: () => inner.release(true) }
}

async function isAlive(client: PostgresPoolClient, clock: Clock): Promise<boolean> {
  const over = new AbortController()
  const answer = client.query('select 1', []).then(
    () => true,
    () => false,
  )
  const patience = clock.sleep(ALIVE_TIMEOUT_MS, over.signal).then(() => false)
  return Promise.race([answer, patience]).finally(() => over.abort())
}

/**
 * An error that the server sent; all others come from the connection, or from waiting in vain. A server
 * that takes no writes, or is going away, is left as well: another may have taken its place.
 */
function isServersWord(error: unknown): boolean {
  if (!(error instanceof Error && 'severity' in error && 'code' in error)) return false
  return !LEAVING_CODES.includes(String(error.code))
}
