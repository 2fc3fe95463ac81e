// The mock upstream as a bench sees it.
import { freePort } from '../../test/support/programs.ts'
import { listening, OTHER_CORE, startOn } from './processes.ts'
import { answerOf } from './requests.ts'
import type { Stage } from './stage.ts'

/** What the mock upstream saw since it began. */
export interface UpstreamCounts {
  readonly connections: number
  readonly handshakes: number
  readonly resumed: number
  readonly requests: number
  /** Of requests' bodies. */
  readonly bytes: number
  /** Requests that lacked what was wanted of them. */
  readonly wrong: number
  /** Events that were not written because the one before had not left. */
  readonly withheld: number
}

/** A mock upstream at work. */
export interface Upstream {
  readonly port: number
  readonly isTls: boolean
  counts(): Promise<UpstreamCounts>
  stop(): Promise<void>
}

/** Starts the mock upstream on the other core; `words` are its own options. */
export async function startUpstream(
  stage: Stage,
  options: { readonly isTls: boolean; readonly words: readonly string[] },
): Promise<Upstream> {
  const { isTls, words } = options
  const port = await freePort()
  const { certFile, keyFile } = stage.certificates
  const tls = isTls ? ['--cert', certFile, '--key', keyFile] : []
  const started = startOn(OTHER_CORE, [
    stage.native('upstream'),
    '--port',
    `${port}`,
    ...tls,
    ...words,
  ])
  await listening(started, port)
  return { port, isTls, counts: () => readCounts(port, isTls), stop: started.stop }
}

/** Answers every request at once with a token of its own, which lives for so long. */
export function startTokenEndpoint(stage: Stage, lifeSeconds: number): Promise<Upstream> {
  const token = { access_token: '@'.repeat(20), token_type: 'Bearer', expires_in: lifeSeconds }
  const answer = stage.write('token-answer', answerOf(Buffer.from(JSON.stringify(token))))
  return startUpstream(stage, { isTls: false, words: ['--answer', answer, '--stamp', 'serial'] })
}

async function readCounts(port: number, isTls: boolean): Promise<UpstreamCounts> {
  const { request } = isTls ? await import('node:https') : await import('node:http')
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const options = { port, host: '127.0.0.1', path: '/counts', agent: false }
  const sent = request({ ...options, ...(isTls ? { rejectUnauthorized: false } : {}) }, answer => {
    let text = ''
    answer.setEncoding('utf8').on('data', part => (text += part))
    answer.once('end', () => resolve(text))
  })
  sent.once('error', reject).end()
  return JSON.parse(await promise)
}
