import { status } from '@grpc/grpc-js'
import { AppError } from '../core/errors.ts'
import { callUnary, openChannel, reachGateway } from '../wire/client.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Doctor } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import type { Gateway } from './gateway-call.ts'
import { explainRefusal, type GatewaySettings } from './settings.ts'
import { noteLine, type Terminal } from './terminal.ts'

const TIMEOUT_MS_DEFAULT = 15_000

/** Of several gateways one that is not connected by then is passed over. */
const REACH_TIMEOUT_MS = 2_000

/** Opens a connection to the gateway. Nothing is sent before the first call. */
export function connectGateway(settings: GatewaySettings, terminal: Terminal): Gateway {
  const { clock } = terminal
  const channel = openChannel(settings.endpoints, {
    token: settings.token,
    nowMs: () => clock.nowMs(),
    caPem: null,
  })
  return {
    settings,
    workspace: settings.workspace,
    openshell: OpenShell.method,
    inference: Inference.method,
    delivery: Delivery.method,
    doctor: Doctor.method,
    async call(method, request, options = {}) {
      const timeoutMs = options.timeoutMs ?? TIMEOUT_MS_DEFAULT
      const startedAtMs = clock.nowMs()
      try {
        await reachGateway(channel, { timeoutMs: REACH_TIMEOUT_MS })
        return await callUnary(channel, method, request, { ...options, timeoutMs })
      } catch (error) {
        throw error instanceof AppError ? explain(error, settings) : error
      } finally {
        if (settings.isVerbose) {
          const spanMs = Math.round(clock.nowMs() - startedAtMs)
          noteLine(terminal, `${method.name} at ${settings.endpoint.origin}: ${spanMs} ms`)
        }
      }
    },
    close: () => channel.close(),
  }
}

/** Says where the gateway was looked for, which only this side knows. */
function explain(error: AppError, settings: GatewaySettings): unknown {
  const origin = settings.endpoints.map(endpoint => endpoint.origin).join(', ')
  if (error.code === 'gateway_unreachable') {
    const isLate = statusOf(error.cause) === status.DEADLINE_EXCEEDED
    return new AppError(
      error.code,
      isLate
        ? `The gateway at ${origin} did not answer in time`
        : `Cannot reach a gateway at ${origin}`,
      {
        hint: isLate
          ? 'Look at the log of the gateway'
          : 'Start one with "openshell gateway start", or name it with --gateway-endpoint',
        cause: error,
      },
    )
  }
  return explainRefusal(error, settings)
}

function statusOf(cause: unknown): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : null
}
