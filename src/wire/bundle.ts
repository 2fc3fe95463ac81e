import { create } from '@bufbuild/protobuf'
import type { Bundle, RouteFailure } from '../core/bundle.ts'
import type { RouteName } from '../core/provider.ts'
import type {
  BetaRule,
  ModelEdit,
  Operation,
  Protocol,
  ResolvedRoute,
  RouteAuth,
} from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import {
  type GetInferenceBundleResponse,
  GetInferenceBundleResponseSchema,
  ResolvedRouteSchema,
  type ResolvedRoute as WireRoute,
} from './gen/openshell/inference/v1/inference_pb.ts'
import {
  BetaRuleSchema,
  OperationSchema,
  RouteFailureSchema,
  type BetaRule as WireBetaRule,
  type Operation as WireOperation,
} from './gen/openshell/route/v1/route_pb.ts'

/** The request path of each protocol at `inference.local`, below `/v1`. */
const PROTOCOL_PATHS: Readonly<Record<Protocol, string>> = {
  anthropic_messages: '/messages',
  anthropic_count_tokens: '/messages/count_tokens',
  openai_chat_completions: '/chat/completions',
  openai_completions: '/completions',
  openai_responses: '/responses',
  openai_responses_compact: '/responses/compact',
  openai_embeddings: '/embeddings',
  aws_bedrock_invoke: '/invoke',
  aws_bedrock_invoke_stream: '/invoke-with-response-stream',
  aws_bedrock_converse: '/converse',
  aws_bedrock_converse_stream: '/converse-stream',
  vertex_raw_predict: ':rawPredict',
  vertex_stream_raw_predict: ':streamRawPredict',
  vertex_count_tokens: '/count-tokens:rawPredict',
  watsonx_chat: '/text/chat',
  watsonx_chat_stream: '/text/chat_stream',
  watsonx_embeddings: '/text/embeddings',
  gemini_generate_content: ':generateContent',
  gemini_stream_generate_content: ':streamGenerateContent',
  gemini_count_tokens: ':countTokens',
  gemini_embed_content: ':embedContent',
  gemini_batch_embed_contents: ':batchEmbedContents',
  gemini_predict: ':predict',
  gemini_model_discovery: '/models',
  model_discovery: '/models',
}

const MODEL_EDITS: ReadonlySet<string> = new Set(['replace', 'remove', 'keep'])

/** Writes a bundle as the wire has it. The secrets in it are revealed here and only here. */
export function bundleToWire(bundle: Bundle): GetInferenceBundleResponse {
  return create(GetInferenceBundleResponseSchema, {
    revision: bundle.revision,
    generatedAtMs: BigInt(bundle.generatedAtMs),
    changes: BigInt(bundle.changes),
    routes: bundle.routes.map(routeToWire),
    failures: bundle.failures.map(failure =>
      create(RouteFailureSchema, {
        ...failure,
        sinceMs: BigInt(failure.sinceMs),
        nextAttemptAtMs: BigInt(failure.nextAttemptAtMs),
      }),
    ),
  })
}

/** Reads a bundle; what a newer gateway may have added and this router cannot serve is left out. */
export function bundleFromWire(wire: GetInferenceBundleResponse): Bundle {
  return {
    revision: wire.revision,
    generatedAtMs: Number(wire.generatedAtMs),
    changes: Number(wire.changes),
    routes: wire.routes.flatMap(routeFromWire),
    failures: wire.failures.flatMap(failure => {
      const name = routeName(failure.name)
      if (name === null) return []
      const read: RouteFailure = {
        name,
        providerName: failure.providerName,
        code: failure.code,
        message: failure.message,
        sinceMs: Number(failure.sinceMs),
        nextAttemptAtMs: Number(failure.nextAttemptAtMs),
      }
      return [read]
    }),
  }
}

function routeToWire(route: ResolvedRoute): WireRoute {
  const foreign = foreignPath(route)
  return create(ResolvedRouteSchema, {
    name: route.name,
    baseUrl: route.baseUrl,
    protocols: route.operations.map(operation => operation.protocol),
    apiKey: route.credential.reveal(),
    modelId: route.modelId,
    providerType: route.providerType,
    timeoutSecs: BigInt(Math.round(route.timeoutMs / 1_000)),
    modelInPath: foreign.isModelInPath,
    ...(foreign.override === null ? {} : { requestPathOverride: foreign.override }),
    providerName: route.providerName,
    providerId: route.providerId,
    expiresAtMs: BigInt(route.expiresAtMs ?? 0),
    mandatoryAtMs: BigInt(route.mandatoryAtMs ?? 0),
    generation: BigInt(route.generation),
    operations: route.operations.map(operationToWire),
    auth: route.auth,
    defaultHeaders: Object.fromEntries(route.defaultHeaders),
    allowHeaders: [...route.allowHeaders],
    ...(route.betas === null ? {} : { betas: betasToWire(route.betas) }),
    deadToken: route.deadToken.map(rule => ({
      status: rule.status,
      when: [...rule.when],
      unless: [...rule.unless],
    })),
  })
}

/**
 * How a sandbox that knows only OpenShell's own fields finds the path of the first operation. Left
 * to itself it appends `/v1` and the usual path, without the `/v1` when the base URL's path begins
 * or ends with it.
 */
function foreignPath({ operations, baseUrl }: ResolvedRoute): {
  readonly isModelInPath: boolean
  readonly override: string | null
} {
  const first = operations[0]
  if (first === undefined) return { isModelInPath: false, override: null }
  const inPath = /^\/\{model\}(.*)$/.exec(first.path)
  if (inPath !== null) return { isModelInPath: true, override: inPath[1] ?? '' }
  const segments = new URL(baseUrl).pathname.split('/').filter(segment => segment !== '')
  const isVersioned = segments[0] === 'v1' || segments.at(-1) === 'v1'
  const isUsual = isVersioned && first.path === PROTOCOL_PATHS[first.protocol]
  return { isModelInPath: false, override: isUsual ? null : first.path }
}

function operationToWire(operation: Operation): WireOperation {
  return create(OperationSchema, {
    protocol: operation.protocol,
    baseUrl: operation.baseUrl,
    path: operation.path,
    streamPath: operation.streamPath,
    modelEdit: operation.model,
    dropQuery: [...operation.dropQuery],
    keepQuery: [...operation.keepQuery],
    hasBetas: operation.hasBetas,
    defaultMembers: operation.defaultMembers.map(one => ({ ...one })),
    removeMembers: [...operation.removeMembers],
    ...(operation.translation === null
      ? {}
      : {
          translation: {
            name: operation.translation.name,
            options: Object.fromEntries(operation.translation.options),
          },
        }),
    ...(operation.version === null
      ? {}
      : {
          version: {
            byHeader: Object.fromEntries(operation.version.byHeader),
            fallback: operation.version.fallback,
          },
        }),
  })
}

function routeFromWire(wire: WireRoute): ResolvedRoute[] {
  const name = routeName(wire.name)
  const auth = authFromWire(wire)
  if (name === null || auth === null) return []
  return [
    {
      name,
      providerName: wire.providerName,
      providerId: wire.providerId,
      providerType: wire.providerType,
      baseUrl: wire.baseUrl,
      modelId: wire.modelId,
      credential: new Secret(wire.apiKey),
      expiresAtMs: wire.expiresAtMs === 0n ? null : Number(wire.expiresAtMs),
      mandatoryAtMs: wire.mandatoryAtMs === 0n ? null : Number(wire.mandatoryAtMs),
      generation: Number(wire.generation),
      timeoutMs: Number(wire.timeoutSecs) * 1_000,
      operations: wire.operations.flatMap(operationFromWire),
      auth,
      defaultHeaders: new Map(Object.entries(wire.defaultHeaders)),
      allowHeaders: wire.allowHeaders,
      betas: wire.betas === undefined ? null : betasFromWire(wire.betas),
      deadToken: wire.deadToken.map(({ status, when, unless }) => ({ status, when, unless })),
    },
  ]
}

/** Null for a way that this router does not know. */
function authFromWire({ auth }: WireRoute): RouteAuth | null {
  switch (auth?.kind) {
    case '':
    case 'header':
      return { kind: 'header', header: auth.header, prefix: auth.prefix }
    case 'sigv4':
      return { kind: 'sigv4', service: auth.service, region: auth.region }
    default:
      return null
  }
}

function operationFromWire(wire: WireOperation): Operation[] {
  if (!isProtocol(wire.protocol) || !isModelEdit(wire.modelEdit)) return []
  return [
    {
      protocol: wire.protocol,
      baseUrl: wire.baseUrl,
      path: wire.path,
      streamPath: wire.streamPath,
      model: wire.modelEdit,
      version:
        wire.version === undefined
          ? null
          : {
              byHeader: new Map(Object.entries(wire.version.byHeader)),
              fallback: wire.version.fallback,
            },
      dropQuery: wire.dropQuery,
      keepQuery: wire.keepQuery,
      hasBetas: wire.hasBetas,
      defaultMembers: wire.defaultMembers.map(({ path, json }) => ({ path, json })),
      removeMembers: wire.removeMembers,
      translation:
        wire.translation === undefined
          ? null
          : {
              name: wire.translation.name,
              options: new Map(Object.entries(wire.translation.options)),
            },
    },
  ]
}

function betasToWire({ allow, carrier, members, refusals }: BetaRule): WireBetaRule {
  return create(BetaRuleSchema, {
    ...{ allow: [...allow], carrier, refusals: [...refusals] },
    members: members.map(({ path, betas }) => ({ path, betas: [...betas] })),
  })
}

/** A carrier that this router does not know carries nothing, so that nothing is refused. */
function betasFromWire({ allow, carrier, members, refusals }: WireBetaRule): BetaRule {
  return {
    allow: carrier === 'header' || carrier === 'body' ? allow : [],
    carrier: carrier === 'body' ? 'body' : 'header',
    members: members.map(({ path, betas }) => ({ path, betas })),
    refusals,
  }
}

function routeName(name: string): RouteName | null {
  return name === 'inference.local' || name === 'sandbox-system' ? name : null
}

function isProtocol(value: string): value is Protocol {
  return Object.hasOwn(PROTOCOL_PATHS, value)
}

function isModelEdit(value: string): value is ModelEdit {
  return MODEL_EDITS.has(value)
}
