package loader

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// killedEnv tells the test that it runs as the agent that will be killed; it
// holds the pin folder.
const killedEnv = "WEIR_TEST_PIN_FOLDER"

// An agent that is killed without warning leaves everything in force and
// nothing locked.
func TestKilledAgentLeavesEnforcement(t *testing.T) {
	if dir := os.Getenv(killedEnv); dir != "" {
		beKilled(t, dir)
		return
	}
	host, far := newNamespace(t), newNamespace(t)
	veth(t, host, "eth0", far, "far0")
	o := testOptions(t)

	agent := exec.Command(must(os.Executable()), "-test.run=^TestKilledAgentLeavesEnforcement$")
	agent.Env = append(os.Environ(), killedEnv+"="+o.Dir)
	agent.Stderr = os.Stderr
	out := must(agent.StdoutPipe())
	host.do(t, func() { mustDo(t, agent.Start()) }) // it inherits the thread's namespace
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "following") {
		t.Fatalf("agent said %q, %v", line, err)
	}
	p := startProbe(t, far, "far0", host, "eth0")
	p.more(t, 10)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), fmt.Sprint("process ", agent.Process.Pid)) {
		t.Errorf("Open beside the agent: %v, want its process", err)
	}
	mustDo(t, agent.Process.Kill())
	_ = agent.Wait()
	p.more(t, 10)

	d := mustOpen(t, o)
	if e, found, err := d.Get(prefix(flaggedSource + "/32")); !found || err != nil || e.Dropped == 0 {
		t.Errorf("entry after the kill: %+v, %t, %v", e, found, err)
	}
	follow(t, d, host, "eth0").wantMode(t, "eth0", ModeNative, "")
	p.more(t, 10)
	if n := p.flagged.Load(); n != 0 {
		t.Errorf("%d flagged packets got past", n)
	}
}

func beKilled(t *testing.T, dir string) {
	o := DefaultOptions()
	o.Dir, o.Capacity = dir, 1<<10
	d := must(Open(o))
	mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
	mustDo(t, d.Follow(context.Background(), []string{"eth0"}, func([]Attachment) { fmt.Println("following") }))
}
