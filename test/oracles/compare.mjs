import { isDeepStrictEqual } from 'node:util'
import { Secret } from '../../src/core/secret.ts'
import { startLab } from '../../src/lab/lab.ts'
import { createRefresher } from '../../src/providers/refresher.ts'
import { silentLog } from '../../src/system/log.ts'
import { realClock, realExecute, realFetch, realFiles, realRandom } from '../../src/system/real.ts'
import { aProvider } from '../store/records.ts'
import { rulesOf } from '../support/outside.ts'

/** Headers of the connection and of the HTTP client; they say nothing of what is asked. */
const CLIENT = [
  ...['host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive', 'user-agent'],
  ...['accept-encoding', 'accept-language', 'sec-fetch-mode'],
]

/** The two differences that all libraries share. */
export const ACCEPT = ['header accept', 'ours asks for the one kind of answer that it reads']
export const CHARSET = [
  'header content-type',
  'a form has no charset parameter (URL Standard); servers ignore it',
]

/** A lab on a free port, by the machine's own clock. */
export function newLab() {
  return startLab(
    { clock: realClock, random: realRandom, log: silentLog },
    { listen: { host: '127.0.0.1', port: 0 }, tokenLifetimeMs: 3_600_000 },
  )
}

/** The calls that the lab got during `work`; each must have been answered with success. */
export async function callsOf(lab, work) {
  const before = lab.journal.entries().at(-1)?.id ?? 0
  await work()
  return lab.journal.entries().filter(({ id }) => id > before)
}

/** Lets our refresher mint once; the calls that it made. */
export function ourCalls(lab, type, { material = {}, config = {}, tokenDirs = [] }) {
  const provider = aProvider({
    type: type.type,
    material: new Map(Object.entries(material).map(([key, text]) => [key, new Secret(text)])),
    config: new Map(Object.entries(config)),
  })
  const rules = { ...rulesOf([new URL(lab.origin).host]), subjectTokenDirs: tokenDirs }
  const outside = { clock: realClock, random: realRandom, fetch: realFetch }
  const deps = { ...outside, files: realFiles, execute: realExecute, rules }
  return callsOf(lab, async () => {
    const signal = AbortSignal.timeout(10_000)
    const result = await createRefresher(type, deps).refresh(provider, signal)
    if (result.kind !== 'minted') throw new Error(`Ours: ${JSON.stringify(result.failure)}`)
  })
}

/**
 * What can be said of a call, fact by fact: `form grant_type`, `header accept`, `assertion header alg`,
 * `assertion claim aud`. What must differ between two calls (times, ids, signatures) is given by kind.
 */
export function factsOf(call) {
  const facts = new Map([
    ['method', call.method],
    ['path', call.path],
    ['query', call.query],
  ])
  for (const [name, value] of call.headers) {
    const key = name.toLowerCase()
    if (!CLIENT.includes(key)) facts.set(`header ${key}`, headerFact(key, value))
    const [, signed] = /SignedHeaders=([^,]*)/.exec(value) ?? []
    for (const one of signed?.split(';') ?? []) facts.set(`signed ${one}`, true)
  }
  const type = facts.get('header content-type') ?? ''
  const text = Buffer.from(call.body ?? []).toString()
  if (type.startsWith('application/x-www-form-urlencoded')) {
    for (const [name, value] of new URLSearchParams(text)) addField(facts, name, value)
  } else if (type.startsWith('application/json')) {
    for (const [name, value] of Object.entries(JSON.parse(text))) facts.set(`json ${name}`, value)
  } else if (text !== '') facts.set('body', text)
  return facts
}

function headerFact(name, value) {
  if (name !== 'authorization') return name === 'x-amz-date' ? '[an instant]' : value
  return value
    .replace(/ SignedHeaders=.* Signature=[0-9a-f]{64}$/, ' …')
    .replace(/^Bearer .*/, 'Bearer [a token]')
}

function addField(facts, name, value) {
  facts.set(`form ${name}`, value.startsWith('eyJ') ? '[a JWT]' : value)
  if (name !== 'assertion' && name !== 'client_assertion') return
  const { header, claims } = readAssertion(value)
  for (const [key, one] of Object.entries(header)) facts.set(`assertion header ${key}`, one)
  for (const [key, one] of Object.entries(claims)) {
    facts.set(`assertion claim ${key}`, /^(iat|exp|nbf|jti)$/.test(key) ? `[a ${typeof one}]` : one)
  }
  // A library that asks the time twice is at times a second off.
  facts.set('assertion lifetime', Math.round((claims.exp - (claims.iat ?? claims.nbf)) / 10) * 10)
}

/** Header and claims of a JWT, unverified. */
export function readAssertion(text) {
  const [header, claims] = text
    .split('.')
    .slice(0, 2)
    .map(part => JSON.parse(Buffer.from(part, 'base64url').toString()))
  return { header, claims }
}

/**
 * What differs and is not explained, and what is explained but does not differ (any more). An
 * explanation is `[fact, why]`; a fact that ends in `*` stands for all that begin so.
 */
export function unexplained(theirs, ours, explained) {
  const facts = new Set([...theirs.keys(), ...ours.keys()])
  const differing = [...facts].filter(fact => !isDeepStrictEqual(theirs.get(fact), ours.get(fact)))
  const covers = ([pattern], fact) =>
    pattern.endsWith('*') ? fact.startsWith(pattern.slice(0, -1)) : fact === pattern
  const open = differing.filter(fact => !explained.some(row => covers(row, fact)))
  const stale = explained.filter(row => !differing.some(fact => covers(row, fact)))
  return [
    ...open.map(fact => `${fact}: theirs ${show(theirs.get(fact))}, ours ${show(ours.get(fact))}`),
    ...stale.map(([pattern]) => `${pattern}: explained, but there is no such difference`),
  ]
}

function show(value) {
  return value === undefined ? 'absent' : JSON.stringify(value)
}

/** Throws unless two lists of calls say the same but for what is explained. */
export function mustAgree(theirs, ours, explained = []) {
  for (const { path, status, body } of [...theirs, ...ours]) {
    if (status === 200) continue
    throw new Error(
      `The lab answered ${path} with ${status}: ${Buffer.from(body ?? []).toString()}`,
    )
  }
  if (theirs.length !== ours.length) {
    throw new Error(`theirs made ${theirs.length} calls, ours ${ours.length}`)
  }
  const problems = unexplained(allFacts(theirs), allFacts(ours), explained)
  if (problems.length > 0) throw new Error(problems.join('\n    '))
}

/** The facts of several calls, each numbered: `2 form grant_type`. */
function allFacts(calls) {
  const named = calls.map((call, at) => {
    const number = calls.length === 1 ? '' : `${at + 1} `
    return [...factsOf(call)].map(([fact, value]) => [`${number}${fact}`, value])
  })
  return new Map(named.flat())
}

/** A `fetch` that goes to the lab, whatever host was meant, and may change what is sent. */
export function fetchAt(lab, { edit = call => call, onCall = () => {} } = {}) {
  return async (input, init = {}) => {
    const request = new Request(input, init)
    const { pathname, search } = new URL(request.url)
    const body = Buffer.from(await request.arrayBuffer())
    const call = {
      method: request.method,
      path: pathname,
      query: search,
      headers: [...request.headers],
      body,
    }
    onCall(call)
    const sent = edit(call)
    return fetch(`${lab.origin}${sent.path}${sent.query}`, {
      method: sent.method,
      headers: sent.headers,
      ...(sent.body.length === 0 ? {} : { body: sent.body }),
    })
  }
}
