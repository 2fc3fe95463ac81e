import { AppError } from '../core/errors.ts'
import type { FullSandbox } from '../core/sandbox.ts'
import type { Store } from '../store/store.ts'
import { checkWorkspace } from './validate.ts'

/** A change that loses its race so often loses for good. */
const ATTEMPTS_MAX = 8

/** Finds a sandbox by name. Throws `not_found`. */
export async function requireSandbox(
  store: Store,
  workspace: string,
  name: string,
): Promise<FullSandbox> {
  const sandbox = await store.getSandbox(checkWorkspace(workspace), name)
  if (sandbox !== null) return sandbox
  throw new AppError('not_found', `Sandbox "${name}" does not exist`, {
    hint: "See 'openshell sandbox list'",
  })
}

/** A sandbox as a change left it. */
export interface ChangedSandbox {
  readonly sandbox: FullSandbox
  /** False when there was nothing to change. */
  readonly isChanged: boolean
}

/**
 * Changes a sandbox from what is stored now. `change` answers the same object for nothing to change; it
 * is asked again when someone else was faster, unless the caller expects one version, where 0 is any.
 *
 * @throws AppError `not_found`, or `version_conflict` when another version stands than was expected.
 */
export async function changeSandbox(
  { store, expectedVersion }: { readonly store: Store; readonly expectedVersion: bigint },
  id: string,
  change: (standing: FullSandbox) => FullSandbox | Promise<FullSandbox>,
): Promise<ChangedSandbox> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const standing = await store.getFullSandbox(id)
    if (standing === null) throw new AppError('not_found', 'The sandbox was deleted')
    if (expectedVersion !== 0n && BigInt(standing.version) !== expectedVersion) break
    const wanted = await change(standing)
    if (wanted === standing) return { sandbox: standing, isChanged: false }
    const saved = await store.updateSandbox(wanted)
    if (saved !== null) return { sandbox: saved, isChanged: true }
  }
  throw new AppError('version_conflict', 'The sandbox was changed by someone else meanwhile', {
    hint: 'Look at it again and repeat the command',
  })
}
