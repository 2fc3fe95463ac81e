// Programs under measurement: started on a core of their own, their cost read from the kernel.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import os from 'node:os'

/** The core of whatever is measured; nothing else of a bench runs there. */
export const MEASURED_CORE = 0
/** Both of them: for what is measured together, as it would share a machine. */
export const BOTH_CORES = `0-${Math.min(1, os.cpus().length - 1)}`
/** The core of load generator, mock upstream and gateway. */
export const OTHER_CORE = Math.min(1, os.cpus().length - 1)

/** A gateway with many providers takes its time. */
const START_MS_MAX = 180_000
const STOP_MS_MAX = 60_000
/** Of the kernel's clock ticks, which `/proc/PID/stat` counts in; 100 on every Linux we know. */
const TICK_MS = 10

/** All programs of a bench, at most. */
const PROGRAMS_MAX = 64

/** A program that was started and will be stopped. */
export interface Started {
  readonly process: ChildProcess
  readonly pid: number
  /** What it has written so far, both streams. */
  output(): string
  stop(): Promise<void>
}

/** Whether a program can be found. */
export function isPresent(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}

/** Starts a program on one core, or on those of a list. */
export function startOn(
  core: number | typeof BOTH_CORES,
  command: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Started {
  const child = spawn('taskset', ['-c', String(core), ...command], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // A bench that fails or is stopped leaves nothing running behind it.
  const kill = () => child.kill('SIGKILL')
  process.setMaxListeners(PROGRAMS_MAX)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    if (process.listenerCount(signal) === 0) process.once(signal, () => process.exit(1))
  }
  process.once('exit', kill)
  child.once('close', () => process.off('exit', kill))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => (output += text))
  }
  return {
    process: child,
    pid: child.pid ?? 0,
    output: () => output,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const closed = once(child, 'close')
      child.kill('SIGTERM')
      const impatience = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
      await closed
      clearTimeout(impatience)
    },
  }
}

/** Waits until a program listens; throws with its output when it ends before. */
export function listening(started: Started, port: number): Promise<void> {
  return standing(started, () => isOpen(port))
}

/** Waits until a program has written a text. */
export function said(started: Started, text: string): Promise<void> {
  return standing(started, async () => started.output().includes(text))
}

async function standing(started: Started, isThere: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + START_MS_MAX
  while (performance.now() < deadlineMs && started.process.exitCode === null) {
    if (await isThere()) return
    await pause(50)
  }
  throw new Error(`${started.process.spawnargs.join(' ')} did not start:\n${started.output()}`)
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    // Nobody listens yet.
    return false
  } finally {
    socket.destroy()
  }
}

/** User and system time of a process and its descendants since they began, in milliseconds. */
export function cpuMs(pid: number): number {
  return family(pid).reduce((sum, one) => {
    // The second field is the name in parentheses and may hold spaces. Those that ended count, too.
    const fields = read(`/proc/${one}/stat`)
      .replace(/^.*\) /s, '')
      .split(' ')
    const ticks = fields.slice(11, 15).reduce((all, field) => all + Number(field), 0)
    return sum + ticks * TICK_MS
  }, 0)
}

/** Resident memory of a process and its descendants, in kilobytes. */
export function residentKb(pid: number): number {
  return statusKb(pid, 'VmRSS')
}

/** Forgets the most that was resident so far (proc(5), `clear_refs`). */
export function resetPeak(pid: number): void {
  for (const one of family(pid)) writeFileSync(`/proc/${one}/clear_refs`, '5')
}

/** The most that was resident since `resetPeak`, or ever, in kilobytes. */
export function peakKb(pid: number): number {
  return statusKb(pid, 'VmHWM')
}

function statusKb(pid: number, field: string): number {
  return family(pid).reduce((sum, one) => {
    const status = readFileSync(`/proc/${one}/status`, 'utf8')
    return sum + Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0)
  }, 0)
}

function family(pid: number): readonly number[] {
  return [
    pid,
    ...read(`/proc/${pid}/task/${pid}/children`)
      .split(' ')
      .filter(Boolean)
      .flatMap(one => family(Number(one))),
  ]
}

/** What the kernel tells of a process; '' when it has just ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^(ENOENT|ESRCH)$/.test(String(error.code))) {
      return ''
    }
    throw error
  }
}

/** Waits. A bench measures time itself and has no fake clock. */
export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
