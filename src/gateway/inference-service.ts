import { AppError } from '../core/errors.ts'
import type { InferenceRoute, ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Fetch } from '../system/fetch.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import type { Delivery } from './delivery.ts'
import { typeOf } from './provider-types.ts'
import { type RouteCredential, routeCredential, withConfigured } from './route-credential.ts'
import { validateRoute } from './route-probe.ts'
import { adminRpc, changeRpc, type Rpc, sandboxRpc } from './rpc.ts'
import { checkRouteName, checkWorkspace } from './validate.ts'

const TIMEOUT_SECONDS_MAX = 86_400n

/** What the inference methods need. */
export interface InferenceServiceDeps {
  readonly store: Store
  readonly clock: Clock
  readonly rules: ProviderRules
  readonly fetch: Fetch
  readonly delivery: Delivery
  /** Called for each polled bundle. */
  readonly onPoll: () => void
}

/** The methods of `openshell.inference.v1.Inference`. */
export function inferenceRpcs(deps: InferenceServiceDeps): readonly Rpc[] {
  const { method } = Inference
  return [
    sandboxRpc(method.getInferenceBundle, (_request, sandbox) => {
      deps.onPoll()
      return deps.delivery.poll(sandbox)
    }),
    changeRpc(method.setInferenceRoute, 'route.set', async (request, note) => {
      const { workspace: place, routeName, providerName, modelId } = request
      note({ workspace: place, route: routeName, provider: providerName, model: modelId })
      const workspace = checkWorkspace(request.workspace)
      const provider = await deps.store.getProvider(workspace, request.providerName)
      if (provider === null) {
        throw new AppError(
          'failed_precondition',
          `Provider "${request.providerName}" does not exist`,
          {
            hint: "Add it with 'openshell provider add', or see 'openshell provider list'",
          },
        )
      }
      if (request.timeoutSecs > TIMEOUT_SECONDS_MAX) {
        throw new AppError('invalid_argument', 'The timeout is longer than a day')
      }
      const name = checkRouteName(request.routeName)
      const { shape, credential, rules } = await resolveRoute(deps, provider, request.modelId)
      const isValidated =
        !request.noVerify &&
        (await validateRoute(deps, {
          ...{ provider, shape, rules },
          credential: requireToken(provider, credential),
        }))
      const route = await save(deps.store, {
        workspace,
        name,
        providerName: provider.name,
        modelId: request.modelId,
        timeoutSeconds: Number(request.timeoutSecs),
        version: 0,
      })
      note({ workspace, route: route.name, version: route.version })
      deps.delivery.changed(workspace)
      return {
        ...routeToWire(route),
        validationPerformed: isValidated,
        validatedEndpoints: (isValidated ? shape.operations : []).map(
          ({ protocol, path, baseUrl }) => ({
            url: `${baseUrl || shape.baseUrl}${path.replace('{model}', encodeURIComponent(shape.modelId))}`,
            protocol,
          }),
        ),
      }
    }),
    adminRpc(method.getInferenceRoute, async ({ routeName, workspace }) => {
      const name = checkRouteName(routeName)
      const route = await deps.store.getRoute(checkWorkspace(workspace), name)
      if (route === null)
        throw new AppError('not_found', `Inference route "${name}" is not configured`)
      return routeToWire(route)
    }),
    changeRpc(method.deleteInferenceRoute, 'route.delete', async (request, note) => {
      note({ workspace: request.workspace, route: request.routeName })
      const place = checkWorkspace(request.workspace)
      const route = checkRouteName(request.routeName)
      const deleted = await deps.store.deleteRoute(place, route)
      note({ workspace: place, route, outcome: deleted ? 'done' : 'unchanged' })
      deps.delivery.changed(place)
      return { deleted }
    }),
  ]
}

/** How the vendor would serve the model, and with what. Throws as the provider's type does. */
async function resolveRoute(
  { store, clock, rules }: InferenceServiceDeps,
  provider: ProviderRecord,
  modelId: string,
) {
  const type = await typeOf(store, provider)
  const rows = await store.listCredentials(provider.id)
  const { shape, credential } = type.route(withConfigured(provider, rows), modelId, rules)
  const found = routeCredential({ type, provider, rows }, credential, clock.nowMs())
  return { shape, credential: found, rules: type.probeRules ?? [] }
}

/** A route to a provider that cannot serve is refused while a person is there to read why. */
function requireToken({ name }: ProviderRecord, credential: RouteCredential): Secret {
  if (credential.kind === 'static') return credential.value
  if (credential.kind === 'missing') {
    throw new AppError('invalid_credential', `Provider "${name}" has no ${credential.key}`, {
      hint: `Have it refreshed with 'openshell provider refresh configure ${name}', or add a credential`,
    })
  }
  if (credential.value !== null) return credential.value
  const why = credential.row.failure?.message ?? 'its first token is still being minted'
  throw new AppError('no_valid_token', `Provider "${name}" has no valid token: ${why}`, {
    hint: `See 'openshell provider refresh status ${name}'; --no-verify sets the route all the same`,
  })
}

async function save(store: Store, wanted: InferenceRoute): Promise<InferenceRoute> {
  const standing = await store.getRoute(wanted.workspace, wanted.name)
  const saved = await store.saveRoute({ ...wanted, version: standing?.version ?? 0 })
  if (saved !== null) return saved
  throw new AppError(
    'version_conflict',
    `Inference route "${wanted.name}" was changed by someone else meanwhile`,
    {
      hint: 'Repeat the command',
    },
  )
}

function routeToWire(route: InferenceRoute) {
  return {
    providerName: route.providerName,
    modelId: route.modelId,
    version: BigInt(route.version),
    routeName: route.name,
    timeoutSecs: BigInt(route.timeoutSeconds),
    workspace: route.workspace,
  }
}
