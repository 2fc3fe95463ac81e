import type { SandboxRecord } from './provider.ts'

/** The value of a setting: the registered ones are of these kinds. */
export type Setting = boolean | string

/** A sandbox's or the gateway's policy, in the wire's own bytes: this gateway keeps and hands it on. */
export interface Policy {
  readonly bytes: Uint8Array
  /** Counts the policies; starts at 1. */
  readonly version: number
  /** The same for the same policy. */
  readonly hash: string
}

/** All that is known of a sandbox besides who it is. */
interface SandboxContent {
  readonly labels: ReadonlyMap<string, string>
  readonly annotations: ReadonlyMap<string, string>
  /** The wire's spec in bytes, without its providers and its policy, which stand beside it. */
  readonly spec: Uint8Array
  /** Names of the providers attached, in the order in which they were. */
  readonly providers: readonly string[]
  readonly policy: Policy | null
  readonly settings: ReadonlyMap<string, Setting>
  /** The policy that its supervisor said it had loaded; 0 before. */
  readonly loadedPolicyVersion: number
  /** The run of the main process that was reported last; '' before. */
  readonly mainProcessId: string
  /** How that run ended; null before. */
  readonly exitCode: number | null
}

/** A sandbox whole. `version` counts writes and is the wire's `resource_version`; it starts at 1. */
export interface FullSandbox extends SandboxRecord, SandboxContent {
  readonly version: number
}

/** A sandbox of which nothing is known yet besides who it is. */
export function bareSandbox(record: SandboxRecord): FullSandbox {
  return {
    ...record,
    labels: new Map(),
    annotations: new Map(),
    spec: new Uint8Array(),
    providers: [],
    policy: null,
    settings: new Map(),
    loadedPolicyVersion: 0,
    mainProcessId: '',
    exitCode: null,
    version: 1,
  }
}

/** What holds for all sandboxes. `revision` counts writes; 0 before the first. */
export interface GatewayConfigRecord {
  readonly settings: ReadonlyMap<string, Setting>
  /** Stands in for every sandbox's own policy. */
  readonly policy: Policy | null
  readonly revision: number
}
