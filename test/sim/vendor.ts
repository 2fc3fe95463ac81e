import type { FailureClass } from '../../src/core/failure.ts'
import type { FetchRequest } from '../../src/system/fetch.ts'
import type { Chance } from './chance.ts'
import type { Machine } from './machine.ts'
import type { Account, VendorToken } from './vendor-account.ts'
import { JUNK, lifeStatement } from './vendor-lies.ts'

/** How a token endpoint fares. */
export type Mood =
  | 'well'
  /** 503. */
  | 'trouble'
  /** The connection is refused. */
  | 'gone'
  /** Never answers. */
  | 'silent'
  /** Takes the request to heart and breaks off before the answer. */
  | 'swallowing'
  /** 429, with `Retry-After` in one of its forms or none. */
  | 'throttling'
  /** 403: an administrator's policy. */
  | 'forbidding'
  /** 200 and no token. */
  | 'lying'
  /** Says that the times in the request are wrong, every second time. */
  | 'confused'

/** What a token endpoint does with a request. */
export type Reaction =
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly headers: ReadonlyMap<string, string>
      readonly body: string
      /** What it has to mean to a client. */
      readonly means: FailureClass | 'token'
      readonly retryAfterMs: number
      readonly token: VendorToken | null
    }
  | { readonly kind: 'refused' }
  | { readonly kind: 'broken' }
  | { readonly kind: 'silence' }

/** What a request shows of its sender. */
export interface Credentials {
  readonly account: Account
  /** The secret, API key or refresh token that it carries. */
  readonly material: string
}

/** A pretend vendor's token endpoint: as strict as it is moody. It shares no code with the product. */
export class Vendor {
  readonly machine: Machine
  readonly #chance: Chance
  readonly #accounts = new Map<string, Account>()
  /** Answers tell the time with this much added. */
  dateOffsetMs = 0
  mood: Mood = 'well'
  /** Whether it states the life of a token in all forms, true or not. */
  isOdd = false
  #calls = 0

  constructor(machine: Machine, chance: Chance) {
    this.machine = machine
    this.#chance = chance
  }

  get host(): string {
    return this.machine.name
  }

  open(account: Account): void {
    this.#accounts.set(account.clientId, account)
  }

  /** Whose request it is; null when it is nobody's. */
  read(request: FetchRequest): Credentials | null {
    const form = new URLSearchParams(Buffer.from(request.body ?? []).toString())
    const apikey = form.get('apikey')
    const [, basic = ''] = (request.headers.get('authorization') ?? '').split('Basic ')
    const [basicId = '', basicSecret = ''] = Buffer.from(basic, 'base64').toString().split(':')
    const clientId =
      apikey === null ? (form.get('client_id') ?? basicId) : `client-${apikey.split('-')[1]}`
    const account = this.#accounts.get(clientId)
    if (account === undefined) return null
    const material = apikey ?? form.get('refresh_token') ?? form.get('client_secret') ?? basicSecret
    return { account, material }
  }

  /** What becomes of a request that has arrived at `nowMs`, true time. */
  react(request: FetchRequest, nowMs: number): Reaction {
    this.#calls += 1
    switch (this.mood) {
      case 'gone':
        return { kind: 'refused' }
      case 'silent':
        return { kind: 'silence' }
      case 'trouble':
        return this.#refuse(503, 'T', { error: 'temporarily_unavailable' })
      case 'throttling':
        return this.#throttle()
      case 'forbidding':
        return this.#refuse(403, 'Q', { error: 'access_denied' })
      case 'lying':
        return { ...this.#refuse(200, 'X', {}), body: this.#chance.pick(JUNK) }
      default:
        break
    }
    const credentials = this.read(request)
    if (credentials === null) return this.#refuse(401, 'P', { error: 'invalid_client' })
    if (this.mood === 'confused' && this.#calls % 2 === 0 && credentials.account.kind !== 'key') {
      const error_description = 'clock: iat is in the future'
      return this.#refuse(401, 'C', { error: 'invalid_client', error_description })
    }
    const reaction = this.#serve(credentials, nowMs)
    return this.mood === 'swallowing' ? { kind: 'broken' } : reaction
  }

  #serve({ account, material }: Credentials, nowMs: number): Reaction {
    let rotated = ''
    if (account.kind === 'family') {
      const next = account.spend(material, nowMs)
      if (next === null) return this.#refuse(400, 'P', { error: 'invalid_grant' })
      rotated = next
    } else if (!account.secrets.has(material)) {
      return account.kind === 'key'
        ? this.#refuse(400, 'P', { errorCode: 'BXNIM0415E', errorMessage: 'No such API key' })
        : this.#refuse(401, 'P', { error: 'invalid_client' })
    }
    const statement = lifeStatement(this.isOdd ? this.#chance : null, account.lifeMs)
    const token = account.mint(nowMs, statement)
    const remainingSeconds = Math.floor((token.statedEndMs - nowMs) / 1_000)
    const isCached = token.issuedAtMs !== nowMs
    const expires = isCached ? `"expires_in":${remainingSeconds}` : statement.text
    const members = [
      `"access_token":"${token.value}"`,
      `"token_type":"${this.#chance.pick(['Bearer', 'bearer'])}"`,
      ...(expires === '' ? [] : [expires]),
      ...(rotated === '' ? [] : [`"refresh_token":"${rotated}"`]),
    ]
    return this.#answer(200, `{${members.join(',')}}`, { means: 'token', retryAfterMs: 0, token })
  }

  #refuse(status: number, means: FailureClass, body: object) {
    return this.#answer(status, JSON.stringify(body), { means, retryAfterMs: 0, token: null })
  }

  #throttle(): Reaction {
    const seconds = this.#chance.whole(1, 120)
    const form = this.#chance.pick(['seconds', 'date', 'none', 'junk'] as const)
    const dateMs = this.machine.nowMs() + this.dateOffsetMs + seconds * 1_000
    const value = { seconds: String(seconds), date: new Date(dateMs).toUTCString(), junk: '-5' }
    // What a date means depends on the clocks, but it is a time that was named.
    const retryAfterMs = { seconds: seconds * 1_000, date: 1, none: 0, junk: 0 }[form]
    const refusal = this.#answer(429, '{"error":"slow_down"}', {
      means: 'H',
      retryAfterMs,
      token: null,
    })
    if (form === 'none') return refusal
    return { ...refusal, headers: new Map([...refusal.headers, ['retry-after', value[form]]]) }
  }

  #answer(
    status: number,
    body: string,
    rest: {
      readonly means: FailureClass | 'token'
      readonly retryAfterMs: number
      readonly token: VendorToken | null
    },
  ) {
    const date = new Date(this.machine.nowMs() + this.dateOffsetMs).toUTCString()
    const headers = new Map([
      ['content-type', 'application/json'],
      ['date', date],
    ])
    return { kind: 'answer', status, headers, body, ...rest } as const
  }
}
