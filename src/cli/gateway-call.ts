import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'
import type { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import type { Doctor } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import type { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import type { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import type { GatewaySettings } from './settings.ts'

/**
 * A gateway to call. The methods come with it, so that a command names them without loading the
 * wire before it runs.
 */
export interface Gateway {
  readonly settings: GatewaySettings
  readonly workspace: string
  readonly openshell: typeof OpenShell.method
  readonly inference: typeof Inference.method
  readonly delivery: typeof Delivery.method
  readonly doctor: typeof Doctor.method
  /** Throws `AppError`: the gateway's own, or `gateway_unreachable`. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: CallOptions,
  ): Promise<MessageShape<O>>
  close(): void
}

interface CallOptions {
  /** Default 15 s. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}
