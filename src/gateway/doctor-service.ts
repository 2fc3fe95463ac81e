import { Doctor } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { type DoctorDeps, examine } from './doctor.ts'
import { requireProvider } from './provider-service.ts'
import { changeRpc, type Rpc } from './rpc.ts'

/** The methods of `openshell.doctor.v1.Doctor`. */
export function doctorRpcs(deps: DoctorDeps): readonly Rpc[] {
  return [
    changeRpc(Doctor.method.checkProvider, 'provider.examine', async (request, note) => {
      note({ workspace: request.workspace, provider: request.provider })
      const provider = await requireProvider(deps.store, request.workspace, request.provider)
      note({ workspace: provider.workspace, type: provider.type })
      const steps = await examine(deps, provider, request.modelId)
      // Nothing is changed, but a token may have been minted, which is what an audit wants to know.
      note({ mint: steps.find(step => step.name === 'mint')?.outcome ?? 'skipped' })
      return {
        providerType: provider.type,
        steps: steps.map(step => ({ ...step, elapsedMs: Math.round(step.elapsedMs) })),
      }
    }),
  ]
}
