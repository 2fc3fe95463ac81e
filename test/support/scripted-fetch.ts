import type { Fetch, FetchRequest, FetchResponse } from '../../src/system/fetch.ts'

/** What a scripted peer says. */
export interface ScriptedAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Bytes, text, or a value that becomes JSON. */
  readonly body?: unknown
}

/** An answer, an error to reject with, or silence until the signal aborts. */
export type Script = ScriptedAnswer | Error | 'silence'

/** A peer that says what the test tells it, and remembers what it was asked. */
export interface ScriptedFetch {
  readonly fetch: Fetch
  readonly requests: readonly FetchRequest[]
  /** Requests that were answered by silence and still wait. */
  readonly silent: number
}

/** Makes a peer that answers each request by `answerOf`, which is told how many came before. */
export function scriptedFetch(
  answerOf: (request: FetchRequest, index: number) => Script,
): ScriptedFetch {
  const requests: FetchRequest[] = []
  let silent = 0
  return {
    requests,
    get silent() {
      return silent
    },
    async fetch(request) {
      request.signal.throwIfAborted()
      requests.push(request)
      const script = answerOf(request, requests.length - 1)
      if (script instanceof Error) throw script
      if (script !== 'silence') return responseOf(script)
      silent += 1
      await aborted(request.signal).finally(() => {
        silent -= 1
      })
      throw request.signal.reason
    },
  }
}

/** The form that a request carried. */
export function formOf(request: FetchRequest | undefined): URLSearchParams {
  return new URLSearchParams(Buffer.from(request?.body ?? []).toString())
}

/** A complete answer of a peer. */
export function responseOf({
  status = 200,
  headers = {},
  body = '',
}: ScriptedAnswer): FetchResponse {
  return { status, headers: new Map(Object.entries(headers)), body: chunksOf(bytesOf(body)) }
}

/** Resolves when the signal aborts. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>(resolve => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function bytesOf(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += 65_536) {
    yield bytes.subarray(start, start + 65_536)
  }
}
