import { type IncomingMessage, request } from 'node:http'
import { json } from 'node:stream/consumers'
import { AppError } from '../core/errors.ts'

const TIMEOUT_MS = 5_000

/** A fault that stands in a lab, with what is left of it. */
export interface LabFault {
  readonly text: string
  /** null for any number of calls. */
  readonly callsLeft: number | null
  /** null for no end. */
  readonly msLeft: number | null
}

/**
 * Sets, clears (`clear`) or, without words, only lists the faults of a running lab; answers those
 * that stand then.
 *
 * @throws AppError `gateway_unreachable` without a lab there, else what the lab says.
 */
export async function requestFaults(
  lab: URL,
  words: readonly string[],
): Promise<readonly LabFault[]> {
  const isClear = words.length === 1 && words[0] === 'clear'
  const method = words.length === 0 ? 'GET' : isClear ? 'DELETE' : 'POST'
  const response = await send(new URL('/lab/faults', lab), method, JSON.stringify(words))
  const answer: unknown = await json(response)
  if (response.statusCode !== 200) throw refusalOf(answer, lab)
  return Array.isArray(answer) ? answer.map(readFault) : []
}

async function send(url: URL, method: string, body: string): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const call = request(url, {
    method,
    headers: { 'content-type': 'application/json' },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  call.on('response', resolve).on('error', reject)
  call.end(method === 'POST' ? body : undefined)
  try {
    return await promise
  } catch (cause) {
    throw new AppError('gateway_unreachable', `Cannot reach a lab at ${url.origin}`, {
      hint: 'Start one with "openshell lab start", or name it with --lab',
      cause,
    })
  }
}

function readFault(value: unknown): LabFault {
  const fault = fieldsOf(value)
  return {
    text: String(fault.text),
    callsLeft: typeof fault.callsLeft === 'number' ? fault.callsLeft : null,
    msLeft: typeof fault.msLeft === 'number' ? fault.msLeft : null,
  }
}

function refusalOf(answer: unknown, lab: URL): AppError {
  const { error, hint } = fieldsOf(answer)
  const message = typeof error === 'string' ? error : `The lab at ${lab.origin} refused`
  return new AppError('invalid_usage', message, { hint: typeof hint === 'string' ? hint : '' })
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
