// Runs the load generator once and reads what a subject spent on it.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { cpuMs, OTHER_CORE, peakKb, residentKb } from './processes.ts'

/** Marks of a distribution, in nanoseconds; absent without samples. */
export interface Distribution {
  readonly count: number
  readonly p50?: number
  readonly p90?: number
  readonly p99?: number
  readonly max?: number
}

/** What the load generator saw within its window. */
interface LoadResult {
  readonly latency: Distribution
  /** How long before a request's last byte its first one was at the upstream. */
  readonly lead: Distribution
  readonly windowNs: number
  readonly answers: number
  readonly wrong: number
  readonly broken: number
  readonly handshakes: number
  readonly resumed: number
  readonly events: number
  /** Events of the stream that got the fewest. */
  readonly fewest: number
}

/** One run against one subject. */
export interface Run {
  readonly load: LoadResult
  /** Of the subject within the window. */
  readonly cpuMs: number
  /** Of the subject when the window closed. */
  readonly residentKb: number
  /** The most that the subject ever held. */
  readonly peakKb: number
}

/** Runs the load generator against a subject; `pid` 0 is none, and costs nothing. */
export async function runLoad(
  program: string,
  pid: number,
  words: readonly string[],
): Promise<Run> {
  const child = spawn('taskset', ['-c', String(OTHER_CORE), program, ...words])
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', text => (complaint += text))
  const closed = once(child, 'close')
  const spent = { cpuMs: 0, residentKb: 0, peakKb: 0 }
  let result: LoadResult | null = null
  await eachLine(child, line => {
    if (line === 'begin') spent.cpuMs = -costOf(pid)
    else if (line === 'end') {
      spent.cpuMs += costOf(pid)
      spent.residentKb = pid === 0 ? 0 : residentKb(pid)
      spent.peakKb = pid === 0 ? 0 : peakKb(pid)
    } else result = JSON.parse(line)
  })
  await closed
  if (result === null) throw new Error(`${program} ${words.join(' ')} said nothing: ${complaint}`)
  return { load: result, ...spent }
}

async function eachLine(
  child: ChildProcessWithoutNullStreams,
  act: (line: string) => void,
): Promise<void> {
  for await (const line of createInterface({ input: child.stdout })) act(line)
}

function costOf(pid: number): number {
  return pid === 0 ? 0 : cpuMs(pid)
}
