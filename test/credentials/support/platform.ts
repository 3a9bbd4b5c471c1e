/** Where flock(2) is had in another way, or not at all. */
import { onTestFinished } from "vitest";

/** Until the test is over, this process takes itself to be on that platform. */
export function pretendPlatform(value: NodeJS.Platform): void {
  const { platform } = process;
  Object.defineProperty(process, "platform", { value });
  onTestFinished(() => void Object.defineProperty(process, "platform", { value: platform }));
}
