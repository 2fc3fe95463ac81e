// Goal: nothing but a complete token passes, whoever answers whatever. Method: an oracle of the rules
// that is written as slowly and plainly as can be, beside the judge, on answers of every shape; then
// every provider type's judge on the same answers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Failure } from '../../src/core/failure.ts'
import { processTokenAnswer } from '../../src/oauth/token-answer.ts'
import type { Minted, Refused, TokenAnswer } from '../../src/oauth/token-request.ts'
import { planRefresh } from '../../src/refresh/policy.ts'
import { holds } from './holds.ts'
import { minters } from './minters.ts'
import { anyAnswer, NOW_MS, SENT, spellings } from './vendor-answers.ts'

const HOUR_MS = 3_600_000
const LIFE_SECONDS_MAX = 100_800
const rules = { refusals: [], fallbackLifetimeMs: HOUR_MS, rotates: 'REFRESH' } as const

/** What an answer is worth: a token with its life, or the class of its failure where the rules say it. */
type Verdict =
  | { readonly token: string; readonly lifetimeMs: number; readonly hintMs: number | null }
  | 'T'
  | 'H'
  | 'X'
  | 'refused'

function oracle({ status, headers, body }: TokenAnswer): Verdict {
  if (status >= 300 && status <= 399) return 'X'
  if (status === 429) return 'H'
  if (status >= 400 && headers.has('retry-after')) return 'H'
  if (status === 408 || status >= 500) return 'T'
  let said: unknown = null
  try {
    said = JSON.parse(new TextDecoder().decode(body ?? new Uint8Array()))
  } catch {
    return 'X'
  }
  if (typeof said !== 'object' || said === null || Array.isArray(said)) return 'X'
  const fields = new Map(Object.entries(said))
  const error = fields.get('error')
  if (typeof error === 'string' && error !== '') return 'refused'
  if (error !== undefined && error !== null && error !== '') return 'X'
  if (status !== 200) return 'X'
  const token = fields.get('access_token')
  if (typeof token !== 'string' || !isPrintable(token)) return 'X'
  if (token === 'undefined' || token === 'null') return 'X'
  const type = fields.get('token_type')
  if (type !== undefined && type !== null) {
    if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') return 'X'
  }
  const stated = fields.has('expires_in') ? seconds(fields.get('expires_in')) : 3_600
  if (stated === null || stated <= 0) return 'X'
  const hint = seconds(fields.get('refresh_in'))
  return {
    token,
    lifetimeMs: Math.min(stated, LIFE_SECONDS_MAX) * 1_000,
    hintMs: hint === null ? null : hint * 1_000,
  }
}

/** 1 to 65,536 characters from `!` to `~`. */
function isPrintable(token: string): boolean {
  if (token.length === 0 || token.length > 65_536) return false
  for (let at = 0; at < token.length; at += 1) {
    const code = token.charCodeAt(at)
    if (code < 0x21 || code > 0x7e) return false
  }
  return true
}

/** Whole seconds from a number or from up to ten digits; null for anything else. */
function seconds(value: unknown): number | null {
  if (typeof value === 'number') {
    if (value > LIFE_SECONDS_MAX) return LIFE_SECONDS_MAX
    return Math.floor(value)
  }
  if (typeof value !== 'string' || value.length === 0 || value.length > 10) return null
  let total = 0
  for (const digit of value) {
    const worth = '0123456789'.indexOf(digit)
    if (worth < 0) return null
    total = total * 10 + worth
  }
  return total
}

test('the judge of OAuth answers decides as a slow oracle of the rules does', async () => {
  let minted = 0
  await holds(
    fc.property(anyAnswer, answer => {
      const judged = processTokenAnswer(rules, answer, NOW_MS)
      const expected = oracle(answer)
      if (typeof expected === 'object') {
        minted += 1
        assert.equal(judged.kind, 'minted')
        if (judged.kind !== 'minted') return
        assert.equal(judged.token.reveal(), expected.token)
        assert.equal(judged.lifetimeMs, expected.lifetimeMs)
        assert.equal(judged.refreshInMs, expected.hintMs)
        return
      }
      assert.equal(judged.kind, 'failed')
      if (judged.kind === 'failed' && expected !== 'refused') {
        assert.equal(judged.failure.class, expected)
      }
    }),
    4_000,
  )
  assert.ok(minted > 200, `only ${minted} tokens in all these answers`)
})

for (const { name, judge } of minters()) {
  test(`no answer makes the judge of ${name} throw, tell a secret, or take what is no token`, async () => {
    let minted = 0
    await holds(
      fc.property(anyAnswer, fc.integer({ min: -HOUR_MS, max: HOUR_MS }), (answer, offsetMs) => {
        const judged = judge(answer, NOW_MS + offsetMs)
        if (judged.kind === 'minted') minted += 1
        assertSound(judged)
      }),
      400,
    )
    assert.ok(minted > 0, 'no answer was ever taken, so nothing was looked at')
  })
}

function assertSound(judged: Minted | Refused): void {
  if (judged.kind === 'failed') {
    assertPlain(judged.failure)
    return
  }
  const { token, lifetimeMs, refreshInMs } = judged
  assert.ok(/^[\x21-\x7e]+$/.test(token.reveal()), `unusable: ${JSON.stringify(token.reveal())}`)
  assert.ok(lifetimeMs > 0 && lifetimeMs <= LIFE_SECONDS_MAX * 1_000, `${lifetimeMs} ms of life`)
  // Whatever life was taken makes a plan of real instants.
  const parts = { issuedAtMs: NOW_MS, leadMs: 300_000, mandatoryMs: null, fraction: 0.5 }
  const plan = planRefresh({ ...parts, lifetimeMs, refreshInMs })
  for (const at of Object.values(plan)) assert.ok(Number.isSafeInteger(at), JSON.stringify(plan))
  assert.ok(plan.dueAtMs > NOW_MS, `a life of ${lifetimeMs} ms is minted in a loop`)
}

function assertPlain(failure: Failure): void {
  const { code, message, advice, retryAfterMs } = failure
  assert.ok(/^[\x20-\x7e]{1,100}$/.test(code), `code ${JSON.stringify(code)}`)
  assert.ok(retryAfterMs >= 0 && retryAfterMs <= HOUR_MS, `Retry-After ${retryAfterMs}`)
  assert.ok(
    !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(message),
    `control characters in ${JSON.stringify(message)}`,
  )
  const said = `${code} ${message} ${advice}`
  for (const form of SENT.flatMap(spellings))
    assert.ok(!said.includes(form), `a secret in: ${said}`)
}
