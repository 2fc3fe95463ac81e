import { generateKeyPairSync } from 'node:crypto'
import type { FailureClass, RecoveryAction } from '../../src/core/failure.ts'
import type { ProviderRules, ProviderType } from '../../src/providers/provider-type.ts'
import type { Execute } from '../../src/system/execute.ts'
import type { Script } from '../support/scripted-fetch.ts'

/** What a value of a request must be: this text, or whatever passes the check. */
export type Expected = string | ((value: string) => void)

/** One refusal that the vendor documents, and what it must mean. */
export interface Refusal {
  readonly status: number
  /** Text, or a value that becomes JSON. */
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** As it is judged; a second `S` or `C` in a row ends as `P`. */
  readonly class: FailureClass
  readonly code: string
  readonly recoveryAction?: RecoveryAction
}

/** An endpoint that is asked before the token endpoint. */
interface Source {
  readonly body: unknown
  readonly token: string
  /** A body that brings nothing; by default OAuth's `invalid_grant`. */
  readonly refused?: unknown
}

/** What the suite must be told of a vendor whose answers are none of OAuth's. */
interface OwnForm {
  /** The token of the answer that is inside what was minted of it. */
  readonly tokenIn: (minted: string) => unknown
  /** The longest token that is taken. */
  readonly tokenCharsMax: number
  /** Answers that are no token, each a breach of the protocol. */
  readonly notTokens: readonly Script[]
}

/**
 * One way in which a provider type gets its token: all that the suite must be told. Secrets are made
 * at run time.
 */
export interface Fixture {
  /** What the way is called, for example `client credentials with Basic`. */
  readonly name: string
  readonly type: ProviderType
  readonly material: Readonly<Record<string, string>>
  readonly config: Readonly<Record<string, string>>
  /** What the operator allows; by default the hosts `*.example` that the fixture names, if any. */
  readonly rules?: Partial<ProviderRules>
  /** Token files by path. */
  readonly files?: Readonly<Record<string, string>>
  /** Runs the programs that the configuration names; by default there are none. */
  readonly execute?: Execute
  /** The request to the token endpoint, complete: nothing may be missing and nothing more sent. */
  readonly request: {
    readonly method?: 'GET' | 'POST' | 'PUT'
    readonly url: string
    /** Besides `accept` and `content-type`. */
    readonly headers?: Readonly<Record<string, Expected>>
    readonly form?: Readonly<Record<string, Expected>>
    readonly json?: Readonly<Record<string, Expected>>
  }
  /**
   * The body that brings this token with this life; by default OAuth's (RFC 6749 §5.1) with `extra`.
   * Life is in seconds; `undefined` leaves it out.
   */
  readonly success?: (token: unknown, life: unknown, nowMs: number) => unknown
  /** Members of the success answer besides the usual three. */
  readonly extra?: Readonly<Record<string, unknown>>
  /** What it is renewed ahead of its end, for an hour's token. */
  readonly leadMs: number
  /** The life of a token whose answer names none; null when such an answer is no token. */
  readonly fallbackSeconds?: number | null
  /** For a vendor whose answers are none of OAuth's; goes with `success`. */
  readonly ownForm?: OwnForm
  /** Headers of whatever the token endpoint answers. */
  readonly answerHeaders?: Readonly<Record<string, string>>
  /** The status by which the API says that a token is dead; by default 401. */
  readonly deadTokenStatus?: number
  /** `false` for vendors that state the life in a form of their own. */
  readonly hasExpiresIn?: boolean
  readonly refusals: readonly Refusal[]
  /** A body that refuses in these words; by default OAuth's `invalid_request`. */
  readonly refuse?: (words: string) => unknown
  /** Endpoints that are asked before, with what they answer; their tokens must not get out. */
  readonly sources?: Readonly<Record<string, Source>>
  /** Parts of the material that are secrets by themselves. */
  readonly secrets?: readonly string[]
  /** Material that the vendor rotates when its answer has a `refresh_token`. */
  readonly rotates?: string
  /** What that material becomes; by default the new refresh token itself. */
  readonly rotatedTo?: (refreshToken: string) => string
  /** A model that the configuration serves. */
  readonly model?: string
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** Keys made for this run. */
export const keys = {
  rsa: { ...rsa, pem: rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
  ec: { ...ec, pem: ec.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
}

/** A secret made for this run, as vendors make theirs. */
export const plainSecret = `s3cr3t-${Math.random().toString(36).slice(2)}_~.of-this-run`

/** A secret made for this run, with every character that an encoding could trip over. */
export const awkwardSecret = `s3cr3t +%&=:/~é ${Math.random().toString(36).slice(2)}`
