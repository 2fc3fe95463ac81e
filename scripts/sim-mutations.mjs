// Is the simulation any good? Plants one bug after the other in a copy of the tree and simulates until
// an invariant breaks: `npm run sim:mutations`, or some of them by name. Each has to be found within
// 200 seeds, and the same seeds have to pass without a bug.
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import path from 'node:path'

const SEEDS_MAX = 200

/**
 * Each bug: what it is, and what is put in the place of what, once, in which file. `replicas` is how many
 * gateways it takes to show; without it the seed decides.
 */
const MUTATIONS = {
  noFence: {
    says: 'a late result overwrites what was written meanwhile',
    file: 'src/store/credentials.ts',
    from: `    .where('version', '=', place('version'))
    .returning('version')`,
    to: `    .returning('version')`,
  },
  noClaim: {
    says: 'what is being minted is claimed again at once',
    file: 'src/store/credentials.ts',
    from: 'return { claimed_by: claim.owner, claimed_until_ms: wholeMs(claim.untilMs) }',
    to: 'return { claimed_by: claim.owner, claimed_until_ms: wholeMs(claim.nowMs) }',
  },
  expiredInBundle: {
    says: 'an expired token is put into bundles',
    file: 'src/gateway/route-credential.ts',
    from: 'const token = usableToken(row, nowMs)',
    to: 'const token = usableToken(row, nowMs - 3_600_000)',
  },
  expiredUpstream: {
    says: 'a router sends a token past its end',
    file: 'src/router/freshness.ts',
    from: 'clock.nowMs() + limits.expiryMarginMs < route.expiresAtMs',
    to: 'clock.nowMs() - 60_000 < route.expiresAtMs',
  },
  noRevocation: {
    says: 'a bundle is not taken back when a token in it ends',
    file: 'src/gateway/bundle-cache.ts',
    from: 'const dueAtMs = slot.isDirty ? slot.retryAtMs : slot.endsAtMs',
    to: 'const dueAtMs = slot.isDirty ? slot.retryAtMs : Infinity',
  },
  tooEarly: {
    says: 'a token is renewed at half of its life, whatever its source says',
    file: 'src/refresh/policy.ts',
    from: 'Math.max(token.leadMs, leadMinMs)',
    to: 'Math.max(lifetimeMs, leadMinMs)',
  },
  noFloor: {
    says: 'a vendor that answers nonsense is asked again at once',
    file: 'src/refresh/policy.ts',
    from: 'return Math.min(FLOOR_MS, lifetimeMs / 4)',
    to: 'return 0',
  },
  retryPermanent: {
    says: 'what the vendor refused for good is tried again',
    file: 'src/refresh/policy.ts',
    from: `    case 'C':
      return null`,
    to: `    case 'C':
      return nowMs + PROBE_MS`,
  },
  retryAfterIgnored: {
    says: 'Retry-After is not kept',
    file: 'src/refresh/policy.ts',
    from: 'if (namedMs > 0) return',
    to: 'if (namedMs < 0) return',
  },
  backoffWithoutCap: {
    says: 'the backoff grows without end, whatever is left of the token',
    file: 'src/refresh/policy.ts',
    from: 'Math.min(backoffMs(attempt, BACKOFF_BASE_MS), patienceMs(attempt, URGENT_MS))',
    to: 'BACKOFF_BASE_MS * 2 ** Math.min(attempt.consecutiveFailures, 16)',
  },
  backoffWithoutFloor: {
    says: 'what failed is tried again at once',
    file: 'src/refresh/policy.ts',
    from: 'Math.max(BACKOFF_FLOOR_MS, spanMs * attempt.fraction)',
    to: 'spanMs * attempt.fraction * attempt.fraction * attempt.fraction',
  },
  rotatedLost: {
    says: 'the refresh token that a vendor rotated is not stored',
    file: 'src/refresh/attempt.ts',
    from: '(rotatedMaterial.size > 0 || candidate !==',
    to: '(candidate !==',
  },
  noIntent: {
    says: 'nobody records that a refresh token is about to be spent',
    file: 'src/refresh/attempt.ts',
    from: '[spends]: work.claimed[spends] + 1',
    to: '[spends]: work.claimed[spends]',
  },
  forcedPerReport: {
    says: 'each report of a refused token forces a refresh, however old the token',
    file: 'src/gateway/delivery-service.ts',
    from: 'if (credential.generation !== report.generation) {',
    to: 'if (credential.generation < report.generation) {',
  },
  forcedWithoutFloor: {
    says: 'forced refreshes follow one another without a pause',
    file: 'src/refresh/task.ts',
    from: 'return { ...claimed, ...spent, lastForcedAtMs: nowMs }',
    to: 'return { ...claimed, ...spent }',
  },
  clockIgnored: {
    says: 'a wall clock that was set back is not noticed',
    file: 'src/refresh/clock-watch.ts',
    from: 'aheadMs() < lastMs - STEP_MS_MIN',
    to: 'aheadMs() < lastMs - Infinity',
  },
  deletedServed: {
    says: 'a deleted provider stays in the bundles',
    file: 'src/gateway/compose.ts',
    from: 'onDelete: onChange }',
    to: 'onDelete: () => {} }',
  },
  pushForgotten: {
    says: 'a router that has acknowledged a push gets no other',
    file: 'src/gateway/delivery.ts',
    from: `  member.acknowledged = revision
  member.onTheWay = null`,
    to: '  member.acknowledged = revision',
  },
  acknowledgedTooSoon: {
    says: 'a router says that it serves what it does not serve yet',
    file: 'src/sandbox/bundle-client.ts',
    from: 'table.swap(bundle)',
    to: 'setImmediate(() => table.swap(bundle))',
  },
  oldOverNew: {
    says: 'a late answer to a poll takes the place of a newer push',
    file: 'src/sandbox/bundle-client.ts',
    from: 'if (delivered.arrivals === arrivalsBefore) apply',
    to: 'apply',
    also: [
      {
        file: 'src/router/bundle-order.ts',
        from: 'if (arrived.generatedAtMs > served.generatedAtMs) return false',
        to: 'return false',
      },
    ],
  },
  sameTokenAgain: {
    says: 'a router that waits for a newer token takes the one that was refused',
    file: 'src/router/freshness.ts',
    from: 'one.providerName === providerName && one.generation !== generation && isFresh(deps, one),',
    to: 'one.providerName === providerName && isFresh(deps, one),',
  },
  ownClock: {
    says: 'each gateway goes by the clock of its own machine',
    replicas: 3,
    file: 'src/gateway/database-clock.ts',
    from: 'anchor === null ? clock.nowMs() : Math.round(anchor.atMs + sinceMs(anchor))',
    to: 'clock.nowMs()',
  },
  othersClaimsFreed: {
    says: 'a gateway that starts ends the claims of all others',
    replicas: 3,
    file: 'src/store/credentials.ts',
    from: `.where('claimed_by', '=', owner)`,
    to: `.where('claimed_by', '!=', \`not \${owner}\`)`,
  },
  notificationsAlone: {
    says: 'a change whose notification was lost is never noticed',
    replicas: 3,
    file: 'src/store/changes.ts',
    from: 'if (rows !== null) seen.compare(countsOf(rows))',
    to: 'if (failures > 0) seen.compare(countsOf(rows ?? []))',
  },
  rosterOfOne: {
    says: 'a gateway counts its own routers only',
    replicas: 3,
    file: 'src/gateway/roster.ts',
    from: 'routers: here.routers + sum(others.flatMap(counts => [...counts.values()])),',
    to: 'routers: here.routers,',
  },
  lostClaimSends: {
    says: 'who lost its claim to another gateway sends all the same',
    replicas: 3,
    file: 'src/refresh/claim.ts',
    from: 'const held = saved === null && !isWrittenAs(row, wanted) ? undefined : row',
    to: 'const held = row',
    also: [
      {
        file: 'src/refresh/claim.ts',
        from: 'if (row?.version !== claimed.version && row?.claimedBy !== deps.owner) throw new LostClaim()',
        to: '',
      },
    ],
  },
  othersUnheard: {
    says: 'what another gateway changes reaches no router of this one',
    replicas: 3,
    file: 'src/gateway/other-gateways.ts',
    from: `    delivery.changed(change.workspace)
    if (change.isOwn) return`,
    to: '    if (change.isOwn) return',
  },
}

const root = path.dirname(import.meta.dirname)
const asked = process.argv.slice(2)
const names = asked.length > 0 ? asked : Object.keys(MUTATIONS)
const missing = names.flatMap(replacementsOf).filter(({ count }) => count !== 1)
if (missing.length > 0) {
  for (const { name, file, count } of missing)
    console.error(`"${name}" matches ${count} times in ${file}, expected one`)
  process.exit(1)
}
// One copy of the tree for all: what is edited meanwhile is another matter.
const base = copyOf(root)
const queue = ['', ...names]
const rows = []
const worker = async () => {
  for (let name = queue.shift(); name !== undefined; name = queue.shift())
    rows.push(await examine(name))
}
await Promise.all(Array.from({ length: Math.min(queue.length, availableParallelism()) }, worker))
rmSync(base, { recursive: true })

console.log(`\n${'planted bug'.padEnd(22)} ${'seeds'.padStart(5)}  found by`)
for (const { name, seeds, verdict } of rows.sort((one, other) => queueOf(one) - queueOf(other)))
  console.log(`${(name || '(none)').padEnd(22)} ${String(seeds).padStart(5)}  ${verdict}`)
process.exitCode = rows.every(row => row.isFine) ? 0 : 1

function queueOf({ name }) {
  return names.indexOf(name)
}

/** Simulates with a bug, or without one where the name is ''. */
async function examine(name) {
  const folder = copyOf(base)
  try {
    if (name !== '') plant(folder, name)
    const { code, text } = await simulate(folder, MUTATIONS[name]?.replicas ?? null)
    const [, seed, invariant] = /^Seed (\d+) breaks "(.*)" after/m.exec(text) ?? []
    const isFound = invariant !== undefined
    const verdict = isFound ? invariant : code === 0 ? 'nothing' : `the run ended with ${code}`
    console.log(`${name || 'no bug'}: ${verdict} (${MUTATIONS[name]?.says ?? 'the tree as it is'})`)
    const isFine = name === '' ? code === 0 && !isFound : isFound
    return { name, seeds: seed ?? SEEDS_MAX, verdict: isFine ? verdict : `${verdict} (!)`, isFine }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A copy of all that a simulation needs, in a folder of its own. */
function copyOf(tree) {
  const folder = mkdtempSync(path.join(tmpdir(), 'openshell-mutation-'))
  for (const part of ['src', 'test/sim', 'scripts', 'package.json'])
    cpSync(path.join(tree, part), path.join(folder, part), { recursive: true })
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'))
  return folder
}

/** What a mutation replaces, and how often that stands where it is expected once. */
function replacementsOf(name) {
  const mutation = MUTATIONS[name]
  if (mutation === undefined) throw new Error(`There is no mutation "${name}"`)
  return [mutation, ...(mutation.also ?? [])].map(({ file, from, to }) => {
    const count = readFileSync(path.join(root, file), 'utf8').split(from).length - 1
    return { name, file, from, to, count }
  })
}

function plant(folder, name) {
  for (const { file, from, to } of replacementsOf(name)) {
    const place = path.join(folder, file)
    writeFileSync(
      place,
      readFileSync(place, 'utf8').replace(from, () => to),
    )
  }
}

function simulate(folder, replicas) {
  const few = replicas === null ? [] : ['--replicas', String(replicas)]
  const args = ['scripts/sim.mjs', '--seeds', String(SEEDS_MAX), '--from', '1', ...few]
  const child = spawn(process.execPath, args, { cwd: folder })
  const { promise, resolve } = Promise.withResolvers()
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', chunk => {
      text += chunk
    })
  child.on('close', code => resolve({ code, text }))
  return promise
}
