import type { Log } from '../system/log.ts'
import { Doctor } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { type DoctorDeps, examine } from './doctor.ts'
import { requireProvider } from './provider-service.ts'
import { adminRpc, type Rpc } from './rpc.ts'

/** The methods of `openshell.doctor.v1.Doctor`. */
export function doctorRpcs(deps: DoctorDeps & { readonly log: Log }): readonly Rpc[] {
  return [
    adminRpc(Doctor.method.checkProvider, async ({ provider: name, workspace, modelId }) => {
      const provider = await requireProvider(deps.store, workspace, name)
      const steps = await examine(deps, provider, modelId)
      const outcomes = Object.fromEntries(steps.map(step => [step.name, step.outcome]))
      deps.log.info('provider.examined', {
        provider: name,
        workspace: provider.workspace,
        ...outcomes,
      })
      return {
        providerType: provider.type,
        steps: steps.map(step => ({ ...step, elapsedMs: Math.round(step.elapsedMs) })),
      }
    }),
  ]
}
