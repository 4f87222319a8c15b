//! Why an attempt cannot be started now, in a kubelet's words.

/// The container waits with this reason, and is tried again whenever what it lacks may have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Something that the environment or the user is made from is not there.
    Config(String),
    /// A volume that a container of the pod mounts cannot be set up.
    Volume { name: String, why: String },
    /// Neither the container nor its image says what to run.
    NoCommand,
    /// The image is not in the store, and `imagePullPolicy: Never` says that nobody will bring it.
    ImageNeverPulled(String),
    /// The image is not in the store; it is looked for again after a while, and at once when it is registered.
    ImageMissing(String),
    /// `limits: required` is configured and these controllers are missing on this host.
    Limits(String),
}

impl Refusal {
    /// `state.waiting.reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Config(_) | Refusal::Limits(_) => "CreateContainerConfigError",
            Refusal::Volume { .. } => "ContainerCreating",
            Refusal::NoCommand => "CreateContainerError",
            Refusal::ImageNeverPulled(_) => "ErrImageNeverPull",
            Refusal::ImageMissing(_) => "ErrImagePull",
        }
    }

    /// `state.waiting.message`.
    pub fn message(&self) -> String {
        match self {
            Refusal::Config(message) => message.clone(),
            // A kubelet tells it in the event alone.
            Refusal::Volume { .. } => String::new(),
            Refusal::NoCommand => "no command specified".to_string(),
            Refusal::ImageNeverPulled(image) => {
                format!("Container image \"{image}\" is not present with pull policy of Never")
            }
            Refusal::ImageMissing(image) => format!(
                "image \"{image}\" is not in this node's image store; `pinnace image add {image} DIRECTORY` registers it"
            ),
            Refusal::Limits(controllers) => format!(
                "this host offers no cgroup controller {controllers}, which the pod's limits need, and the node is configured with `limits: required`"
            ),
        }
    }

    /// Reason and text of the event that tells of it.
    pub fn event(&self) -> (&'static str, String) {
        match self {
            Refusal::Config(_) | Refusal::NoCommand => ("Failed", format!("Error: {}", self.message())),
            Refusal::ImageNeverPulled(_) => ("ErrImageNeverPull", self.message()),
            Refusal::ImageMissing(image) => ("Failed", format!("Failed to pull image \"{image}\": {}", self.message())),
            Refusal::Volume { name, why } => {
                ("FailedMount", format!("MountVolume.SetUp failed for volume \"{name}\" : {why}"))
            }
            Refusal::Limits(_) => ("LimitsNotEnforceable", self.message()),
        }
    }
}
