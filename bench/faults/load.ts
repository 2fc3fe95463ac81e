/** A request of an agent, and how it ended. */
export interface Asked {
  readonly sentAtMs: number
  readonly doneAtMs: number
  /** How long it took, by a finer clock. */
  readonly ms: number
  /** 0 when no answer came. */
  readonly status: number
  /** `x-openshell-error`; '' when the answer is the vendor's. */
  readonly code: string
  /** '' without one. */
  readonly retryAfter: string
  /** The answer's text when its status is not 200, or why there was none. */
  readonly text: string
}

/** Whom to ask, and in which dialect. */
export interface Target {
  /** Up to what stands before `/v1`. */
  readonly baseUrl: string
  readonly dialect: 'anthropic' | 'openai'
  /** What this gateway wants to be told beside the placeholder key. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Asks once. Never rejects. */
export async function ask(target: Target, words = 'hi'): Promise<Asked> {
  const { baseUrl, dialect, headers = {} } = target
  const path = dialect === 'anthropic' ? '/v1/messages' : '/v1/chat/completions'
  const sentAtMs = Date.now()
  const startedMs = performance.now()
  const end = (part: Pick<Asked, 'status' | 'code' | 'retryAfter' | 'text'>): Asked => ({
    ...{ sentAtMs, doneAtMs: Date.now(), ms: performance.now() - startedMs },
    ...part,
  })
  try {
    const response = await fetch(`${baseUrl}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': 'placeholder', ...headers },
      body: JSON.stringify({
        ...{ model: 'gpt-5.5', messages: [{ role: 'user', content: words }] },
        ...(dialect === 'anthropic' ? { max_tokens: 16 } : {}),
      }),
    })
    const text = await response.text()
    const { status, headers: got } = response
    return end({
      status,
      code: got.get('x-openshell-error') ?? '',
      retryAfter: got.get('retry-after') ?? '',
      text: status === 200 ? '' : text,
    })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    return end({ status: 0, code: '', retryAfter: '', text: String(error.cause ?? error) })
  }
}

/** Requests that go on coming, whether or not the earlier ones are answered. */
export interface Load {
  /** Changes the pace. */
  pace(perSecond: number): void
  /** Asks no more, waits for what is open, and answers for all of it. */
  stop(): Promise<readonly Asked[]>
}

/** Starts asking at a steady pace. */
export function startLoad(target: Target, perSecond: number): Load {
  const asked: Promise<Asked>[] = []
  let paceMs = 1_000 / perSecond
  let nextAtMs = performance.now()
  let timer = setTimeout(turn, 0)
  function turn() {
    const nowMs = performance.now()
    for (; nextAtMs <= nowMs; nextAtMs += paceMs) asked.push(ask(target))
    timer = setTimeout(turn, nextAtMs - nowMs)
  }
  return {
    pace(faster) {
      paceMs = 1_000 / faster
    },
    stop() {
      clearTimeout(timer)
      return Promise.all(asked)
    },
  }
}

/** Those that were not answered with the vendor's answer. */
export function failuresOf(asked: readonly Asked[]): readonly Asked[] {
  return asked.filter(one => one.status !== 200)
}

/** Whether a failure says in words what is the matter with the provider, and when to come again. */
export function isSaidInWords(failure: Asked, provider: string): boolean {
  return (
    failure.status === 503 &&
    failure.code !== '' &&
    Number(failure.retryAfter) > 0 &&
    failure.text.includes(`\\"${provider}\\"`)
  )
}

/** The latency below which this share of the requests stayed. */
export function latencyMs(asked: readonly Asked[], share: number): number {
  const sorted = asked.map(one => one.ms).sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/** Why requests failed: how many by which code. */
export function causesOf(failed: readonly Asked[]): string {
  if (failed.length === 0) return 'none failed'
  const groups = Object.groupBy(failed, ({ status, code, text }) => code || `${status} ${text}`)
  return Object.entries(groups)
    .map(([cause, group = []]) => `${group.length} × ${cause.slice(0, 60)}`)
    .join(', ')
}
