// The disk is full, or takes no writes, while refresh tokens rotate.
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import type { Running } from '../../test/support/programs.ts'
import { mostSpent, revokedClients } from './family.ts'
import { causesOf, failuresOf, startLoad } from './load.ts'
import { addClient, addServiceAccount, setRoute } from './providers.ts'
import {
  atMost,
  exactly,
  isTrueWithin,
  type Row,
  type RunOptions,
  type Scenario,
  sleep,
  until,
} from './scenario.ts'
import { createWorld, type World } from './world.ts'

const LIFETIME_MS = 6_000
const PER_SECOND = 10
const BACK_MS_MAX = 5_000
/** Longer than any claim or backoff: what has not minted by then is lost. */
const PATIENCE_MS = 45_000
const ROTATING = 3
const EMAIL = 'steady@demo-project.iam.gserviceaccount.com'
/** The vendor takes so long to answer, so that the disk can fail between spending and storing. */
const EXCHANGE = '1s'
const LETTERS_MAX = 65_536

/** A gateway's disk that can be taken away. */
interface Disk extends Disposable {
  readonly name: string
  take(gateway: Running): void
  giveBack(gateway: Running): void
}

/** The scenario on a disk whose writes fail, and on a full one where this user may mount one. */
export const disk: Scenario = {
  name: 'disk',
  isAlone: false,
  async run(options) {
    const rows = await Promise.all([
      runOpenshell(options, () => unwritable),
      runOpenshell(options, mountSmall),
    ])
    return rows.flat()
  },
}

/** By `RLIMIT_FSIZE`: every write to a file fails, with EFBIG. */
const unwritable: Disk = {
  name: 'refuses writes',
  take: gateway => limitFiles(gateway, '0'),
  giveBack: gateway => limitFiles(gateway, 'unlimited'),
  [Symbol.dispose]: () => {},
}

function limitFiles({ process: { pid } }: Running, size: string): void {
  execFileSync('prlimit', ['--pid', String(pid), `--fsize=${size}:unlimited`])
}

/** A file system for the state alone, to be filled to its last byte; null where none may be mounted. */
function mountSmall({ place }: World): Disk | null {
  const folder = path.join(place.folder, 'state')
  const ballast = path.join(folder, 'ballast')
  mkdirSync(folder, { mode: 0o700 })
  try {
    const mount = ['-t', 'tmpfs', '-o', 'size=8m,mode=0700', 'tmpfs', folder]
    execFileSync('mount', mount, { stdio: 'ignore' })
  } catch (error) {
    if (!(error instanceof Error && 'status' in error)) throw error
    console.log('disk is full: left out, because this user may not mount a file system')
    return null
  }
  return {
    name: 'is full',
    take: () => fill(ballast),
    giveBack: () => rmSync(ballast),
    [Symbol.dispose]: () => execFileSync('umount', ['--lazy', folder]),
  }
}

/** Writes ever smaller pieces until not one byte more goes in. */
function fill(file: string): void {
  const descriptor = openSync(file, 'w')
  for (let bytes = LETTERS_MAX; bytes >= 1; ) {
    try {
      writeSync(descriptor, Buffer.alloc(bytes))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      bytes = Math.floor(bytes / 2)
    }
  }
  closeSync(descriptor)
}

async function runOpenshell(
  { isQuick }: RunOptions,
  prepare: (world: World) => Disk | null,
): Promise<readonly Row[]> {
  const awayMs = isQuick ? 8_000 : 15_000
  await using world = await createWorld(LIFETIME_MS)
  using state = prepare(world)
  if (state === null) return []
  const gateway = await world.startGateway()
  const steady = { world, name: 'steady' }
  await addServiceAccount(steady, EMAIL)
  await setRoute(steady, 'claude-3-7-sonnet')
  const clients: string[] = []
  for (let at = 1; at <= ROTATING; at += 1) {
    const place = { world, name: `rotating-${at}` }
    clients.push(await addClient(place, { method: 'post', hasRefreshToken: true }))
  }
  const { lab, ledger } = world.vendor
  const { baseUrl } = await world.startRouter('agent')
  const load = startLoad({ baseUrl, dialect: 'anthropic' }, PER_SECOND)
  await sleep(LIFETIME_MS)

  const lastCall = () => ledger.tokenCalls().at(-1)
  const mintAfter = (subject: string, sinceMs: number) =>
    lab.tokens().find(token => token.subject === subject && token.issuedAtMs >= sinceMs)
  const spells: { takenAtMs: number; returnedAtMs: number; backMs: number }[] = []
  /** Takes the disk away for a while as soon as the vendor's record says so, and sees all come back. */
  const suffer = async (when: string, isTime: () => boolean) => {
    await until(when, isTime)
    const takenAtMs = Date.now()
    state.take(gateway)
    await sleep(awayMs)
    state.giveBack(gateway)
    const returnedAtMs = Date.now()
    const mints = () => [EMAIL, ...clients].map(subject => mintAfter(subject, returnedAtMs))
    await isTrueWithin(PATIENCE_MS, () => !mints().includes(undefined))
    const backs = mints().map(mint => (mint?.issuedAtMs ?? Number.POSITIVE_INFINITY) - returnedAtMs)
    spells.push({ takenAtMs, returnedAtMs, backMs: Math.max(...backs) })
    await sleep(LIFETIME_MS)
  }
  await suffer('a pause between two exchanges', () => lastCall()?.outcome !== 'open')
  lab.faults.set(`oauth2.token delay=${EXCHANGE}`)
  await suffer('a refresh token that is being spent', () => {
    const call = lastCall()
    return call?.vendor === 'oauth2.token' && call.outcome === 'open'
  })

  const asked = await load.stop()
  const failed = failuresOf(asked)
  const stray = failed.filter(
    ({ sentAtMs }) =>
      !spells.some(one => sentAtMs >= one.takenAtMs && sentAtMs <= one.returnedAtMs + BACK_MS_MAX),
  )
  const backMs = Math.max(...spells.map(one => one.backMs))
  const unsaid = failed.filter(one => one.status !== 503 || !(Number(one.retryAfter) > 0))
  return [
    {
      ...{ variant: state.name, system: 'openshell', requests: asked.length },
      ...{ failed: failed.length, mints: lab.counts().mints },
      ...{ deadTokens: ledger.deadTokens().length, backMs },
      note: `${ROTATING} rotating families, ${spells.length} × ${awayMs / 1_000} s; ${causesOf(failed)}`,
      demands: [
        exactly('families revoked by the vendor', revokedClients(ledger).length, 0),
        atMost('times that one refresh token was spent', mostSpent(ledger), 2),
        atMost('every provider has minted after the return', backMs, BACK_MS_MAX, ' ms'),
        exactly('requests that failed before, or later than that', stray.length, 0),
        exactly('failures that were no 503 with Retry-After', unsaid.length, 0),
        exactly('expired tokens at the API', ledger.deadTokens().length, 0),
      ],
    },
  ]
}
