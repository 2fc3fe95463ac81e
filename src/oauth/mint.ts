import path from 'node:path'
import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import type { Files } from '../system/files.ts'
import { outcomeUnknownFailure } from './refusal.ts'
import { sendTokenRequest } from './token-endpoint.ts'
import type {
  Grant,
  Input,
  InputIo,
  InputValue,
  Minted,
  Refused,
  TokenAnswer,
  TokenRequest,
} from './token-request.ts'

const FILE_BYTES_MAX = 65_536

/** How many endpoints may stand behind one another: a federated, impersonated source has three. */
const CHAIN_MAX = 4

/** What one attempt brought, with the answer that it came from; null when there was none. */
export interface MintAttempt {
  readonly result: Minted | Refused
  readonly answer: TokenAnswer | null
  /** Monotonic time from before the last request to after its answer. */
  readonly elapsedMs: number
}

/** The outside world of a mint, before the vendor's time is known. */
export type MintDeps = Pick<InputIo, 'fetch' | 'clock' | 'random' | 'execute'> & {
  readonly files: Files
}

/** Carries out a grant once: reads its inputs, sends, judges. Rejects only when `signal` aborted. */
export async function mint(
  deps: MintDeps,
  grant: Grant,
  options: { readonly vendorNowMs: number; readonly signal: AbortSignal },
): Promise<MintAttempt> {
  return mintAt(deps, grant, { ...options, depth: 1 })
}

async function mintAt(
  deps: MintDeps,
  grant: Grant,
  options: { readonly vendorNowMs: number; readonly signal: AbortSignal; readonly depth: number },
): Promise<MintAttempt> {
  const { signal, depth } = options
  if (depth > CHAIN_MAX) throw new TypeError('A chain of token endpoints is too long')
  let innerAnswer: TokenAnswer | null = null
  const io: InputIo = {
    ...deps,
    vendorNowMs: options.vendorNowMs,
    readFile: (file, folders) => readTokenFile(deps.files, file, folders),
    async mint(inner) {
      const attempt = await mintAt(deps, inner, { ...options, depth: depth + 1 })
      innerAnswer = attempt.answer
      return attempt.result
    },
  }
  if (grant.kind === 'local') {
    const startedMs = deps.clock.monotonicMs()
    const result = await grant.mint(io, signal)
    // What an endpoint behind it answered tells the time, here too.
    return { result, answer: innerAnswer, elapsedMs: deps.clock.monotonicMs() - startedMs }
  }
  const answer = await sendTokenRequest(io, grant, signal)
  // A refusal may be that of an endpoint further back, and tell the time by its answer.
  if (answer.kind === 'failed') return { result: answer, answer: innerAnswer, elapsedMs: 0 }
  const judged = grant.judge(answer, options.vendorNowMs)
  const isTaken = answer.status === 200 && grant.singleUse !== null
  const result = isTaken ? withUnknownOutcome(judged) : judged
  return { result, answer, elapsedMs: answer.elapsedMs }
}

/** A success that holds no token leaves open whether what may be spent only once was taken for it. */
function withUnknownOutcome(judged: Minted | Refused): Minted | Refused {
  if (judged.kind === 'minted' || judged.failure.class !== 'X') return judged
  return { kind: 'failed', failure: outcomeUnknownFailure(judged.failure) }
}

/** A value that is another grant's token, with what stands before it (`Bearer `). */
export function tokenOf(grant: Grant, prefix = ''): Input {
  return {
    kind: 'input',
    async read(io) {
      const minted = await io.mint(grant)
      if (minted.kind === 'failed') return minted
      return { kind: 'value', value: new Secret(`${prefix}${minted.token.reveal()}`) }
    },
  }
}

/** A value that is a file's text, read anew each time, because whoever writes it replaces it. */
export function textOfFile(file: string, folders: readonly string[]): Input {
  return { kind: 'input', read: io => io.readFile(file, folders) }
}

/** The members that most token requests share. */
export const TOKEN_REQUEST_DEFAULTS = {
  kind: 'request',
  method: 'POST',
  headers: new Map(),
  timeoutMs: 10_000,
  singleUse: null,
  fallback: null,
} as const satisfies Partial<TokenRequest>

async function readTokenFile(
  files: Files,
  file: string,
  folders: readonly string[],
): Promise<InputValue | Refused> {
  try {
    const real = await files.realPath(file)
    const allowed = await Promise.all(folders.map(folder => realFolder(files, folder)))
    if (!allowed.some(folder => folder !== '' && real.startsWith(`${folder}${path.sep}`))) {
      return fileFailure(file, 'it is not below an allowed folder', 'P')
    }
    const bytes = await files.read(real, FILE_BYTES_MAX + 1)
    if (bytes.byteLength > FILE_BYTES_MAX) return fileFailure(file, 'it is larger than 64 KiB', 'P')
    const text = new TextDecoder().decode(bytes).trim()
    if (text === '') return fileFailure(file, 'it is empty', 'T')
    return { kind: 'value', value: new Secret(text) }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error
    // Whoever projects such a file may be about to write it.
    return fileFailure(file, String(error.code), 'T')
  }
}

async function realFolder(files: Files, folder: string): Promise<string> {
  try {
    return await files.realPath(folder)
  } catch (error) {
    if (error instanceof Error && 'code' in error) return ''
    throw error
  }
}

function fileFailure(file: string, reason: string, failureClass: 'P' | 'T'): Refused {
  const failure: Failure = {
    class: failureClass,
    code: 'token_file_unreadable',
    message: `Cannot read token file "${file}": ${reason}`,
    advice: 'Mount the file for the gateway, below a folder that --subject-token-dir names',
    recoveryAction: 'fix_configuration',
    retryAfterMs: 0,
  }
  return { kind: 'failed', failure }
}
