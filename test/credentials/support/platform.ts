/** Where no flock(2) can be had. */
import { onTestFinished } from "vitest";

/** Until the test is over, this process takes itself to be on Windows. */
export function pretendWindows(): void {
  const { platform } = process;
  Object.defineProperty(process, "platform", { value: "win32" });
  onTestFinished(() => void Object.defineProperty(process, "platform", { value: platform }));
}
